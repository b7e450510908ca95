"""An option file as a tree of sections that know where they are, and which of their keys were read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NoReturn

import yaml

from tapetum.errors import UsageError
from tapetum.strict_yaml import yaml_trouble

_REQUIRED: Any = object()


class Options:
    """One section. What is taken from it is checked; what nobody took is known at the end (:meth:`unread`).

    Args:
        content: the section's keys and values.
        file: whose section it is, for messages.
        where: its dotted place, "" for the whole file.
    """

    def __init__(self, content: dict[Any, Any], file: str, where: str = "") -> None:
        self._content = content
        self.file = file
        self._where = where
        self._taken: dict[Any, None] = {}
        self._sections: dict[str, Options] = {}

    def __contains__(self, key: str) -> bool:
        return self._content.get(key) is not None

    @property
    def keys(self) -> list[str]:
        return [str(key) for key in self._content]

    def place(self, key: object) -> str:
        """The dotted place of a key in the file."""
        return f"{self._where}.{key}" if self._where else str(key)

    def refuse(self, key: object, why: str) -> NoReturn:
        """Raises UsageError saying which key of which file, and why."""
        raise UsageError(f"{self.file}: {self.place(key)}: {why}")

    def section(self, key: str) -> Options:
        """The section ``key``; one without keys where it is absent or null."""
        if key not in self._sections:
            content = self.take(key)
            if content is not None and not isinstance(content, dict):
                self.refuse(key, f"must be a section of keys and values, got {_shown(content)}")
            self._sections[key] = Options(content or {}, self.file, self.place(key))
        return self._sections[key]

    def take(self, key: str, default: Any = None) -> Any:
        """The value as it is; ``default`` where the key is absent or null."""
        self._taken[key] = None
        value = self._content.get(key)
        if value is None:
            if default is _REQUIRED:
                self.refuse(key, "is missing")
            return default
        return value

    def number(self, key: str, default: float | None = _REQUIRED) -> Any:
        """A float; text such as ``2e-4``, which YAML takes for a word, counts as one."""
        value = self.take(key, default)
        return value if value is default else self._number(key, value)

    def whole(self, key: str, default: int | None = _REQUIRED) -> Any:
        """A whole number, also one that is written as ``!!float 1e3``."""
        value = self.take(key, default)
        return value if value is default else self._whole(key, value)

    def numbers(self, key: str, default: list[float] | None = _REQUIRED) -> Any:
        value = self.take(key, default)
        return value if value is default else [self._number(key, item) for item in self._list(key, value)]

    def wholes(self, key: str, default: list[int] | None = _REQUIRED) -> Any:
        value = self.take(key, default)
        return value if value is default else [self._whole(key, item) for item in self._list(key, value)]

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            self.refuse(key, f"must be true or false, got {_shown(value)}")
        return value

    def text(self, key: str, default: str | None = _REQUIRED) -> Any:
        value = self.take(key, default)
        if value is not default and not isinstance(value, str):
            self.refuse(key, f"must be text, got {_shown(value)}")
        return value

    def unread(self) -> list[str]:
        """Place of every key that nobody took, in the order of the file."""
        found: list[str] = []
        for key in self._content:
            if key in self._sections:
                found += self._sections[key].unread()
            elif key not in self._taken:
                found.append(self.place(key))
        return found

    def refuse_unread(self) -> None:
        """Raises UsageError for the first key that nobody took; the keys that were asked for are the known ones."""
        for key in self._content:
            if key not in self._taken:
                self.refuse(key, f"unknown key, choose from {', '.join(self._taken)}")

    def _list(self, key: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            self.refuse(key, f"must be a list, got {_shown(value)}")
        return value

    def _number(self, key: str, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            self.refuse(key, f"must be a number, got {_shown(value)}")
        return number

    def _whole(self, key: str, value: Any) -> int:
        number = self._number(key, value)
        if not number.is_integer():
            self.refuse(key, f"must be a whole number, got {_shown(value)}")
        return int(number)


def read_options(path: Path) -> Options:
    """Reads an option file: YAML, UTF-8.

    Raises:
        UsageError: no such file, or not a mapping in YAML; one line that says where.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise UsageError(yaml_trouble(path, error)) from None
    except (ValueError, RecursionError) as error:  # !!float many; a thousand brackets
        raise UsageError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: an option file is a mapping of keys to values, this is {type(content).__name__}")
    return Options(content, str(path))


def _shown(value: Any) -> str:
    return f"{value!r:.60}"
