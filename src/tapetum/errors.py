"""What can go wrong, as a user sees it: one clear line saying what, where, and what to do.

Every error raised on purpose for a user's mistake derives from :class:`TapetumError`; the command line prints its text
without a traceback. Anything else that reaches the user is a bug of ours.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable
from types import ModuleType

_SUGGESTED = 3  # names at most


class TapetumError(Exception):
    """Base of all errors that a user can cause and mend. Its text is one line."""


class InputError(TapetumError):
    """An input picture, folder or data set cannot be used. The rest of a batch goes on (exit code 1)."""


class UsageError(TapetumError):
    """The request itself is wrong: an unknown model, a bad option, a bad recipe (exit code 2)."""


class WeightsError(UsageError):
    """A file of weights is not what it should be, or does not fit the network."""


class MissingExtraError(UsageError):
    """An optional part of the package is not installed."""


class TapetumWarning(UserWarning):
    """Something about a picture that a user should know, though the work goes on. Its text is one line."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``, perhaps mae``, to stand behind a name that is not known; "" where nothing is near. Names that begin so come
    first ("lpips" means one of two), then the nearest name, then names whose first word is nearest ("psrn").
    """
    lower, names = name.lower(), list(known)
    near = [other for other in names if lower and other.startswith(lower)] or difflib.get_close_matches(lower, names, 1)
    if not near:
        words = [re.split("[_-]", other)[0] for other in names]
        nearest_word = difflib.get_close_matches(lower, words, 1, cutoff=0.7)
        near = [other for other, word in zip(names, words, strict=True) if word in nearest_word]
    return f", perhaps {' or '.join(near[:_SUGGESTED])}" if near else ""


def os_reason(error: OSError) -> str:
    """Why the operating system refused, to stand inside a line: without the number and the file's name."""
    return (error.strerror or str(error)).lower()


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, which only the optional ``extra`` installs.

    Raises:
        MissingExtraError: says what needs it and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise MissingExtraError(
            f"{purpose} needs {module.split('.')[0]}, which is not installed: pip install 'tapetum[{extra}]'"
        ) from None
