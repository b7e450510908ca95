"""Files that are whole under their name, or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from tapetum.errors import InputError, os_reason

try:
    import fcntl
except ImportError:  # Windows: nothing tells whether a temporary file is still being written, so none is cleaned up
    fcntl = None

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_OLD = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[int]:
    """A descriptor to write to; at the end what was written takes the name ``path``, or after any error it is removed.

    A process that is killed leaves its temporary file behind. Its name is made from the file's, and whoever writes it
    holds a lock that ends with the process: so the next to write the same file removes it, and nobody removes one that
    is still being written.

    Raises:
        OSError: the folder is missing or not writeable, or the disk is full.
    """
    descriptor, temporary = _open(path)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        try:
            yield descriptor
            if fcntl is None:  # Windows renames and removes closed files only
                file.close()
            else:  # network file systems tell a full disk when a file is closed; this copy's closing keeps the lock
                os.close(os.dup(descriptor))
            os.replace(temporary, path)
        except BaseException:
            if fcntl is None:
                file.close()
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def make_folder(folder: Path) -> None:
    """With those above it, unless it is there. Raises InputError: it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {os_reason(error)}") from None


def write_whole(content: str | bytes, path: Path) -> None:
    """A small file at once; text in UTF-8. Raises OSError, as :func:`replacing`."""
    mode, encoding = ("w", "utf-8") if isinstance(content, str) else ("wb", None)
    with replacing(path) as descriptor, open(descriptor, mode, encoding=encoding, closefd=False) as file:
        file.write(content)


def _open(path: Path) -> tuple[int, Path]:
    # Short, so that it fits wherever the final name does
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    temporary = path.parent / f".tapetum-{name}"
    _remove_stale(temporary)
    with contextlib.suppress(FileExistsError, BlockingIOError):
        descriptor = os.open(temporary, _NEW, 0o666)
        try:
            _lock(descriptor)
            if _is_at(descriptor, temporary):
                return descriptor, temporary
        except BlockingIOError:  # before it was locked, another took it for a stale one, which it removes
            os.close(descriptor)
            raise
        except OSError:  # a file system without locks: nobody can remove it
            return descriptor, temporary
        os.close(descriptor)
    # somebody else writes the same file now
    temporary = path.parent / f".tapetum-{secrets.token_hex(8)}"
    return os.open(temporary, _NEW, 0o666), temporary


def _remove_stale(temporary: Path) -> None:
    """Remove what a killed process left; not what is being written, nor what is no file of ours."""
    if fcntl is None:
        return
    try:
        descriptor = os.open(temporary, _OLD)
    except OSError:  # the usual case: there is none
        return
    # any error, such as a lock that is held or a file system without them: it stays
    with contextlib.suppress(OSError), os.fdopen(descriptor, "rb"):
        if _is_ours(descriptor):
            _lock(descriptor)
            # looked at only now: it may have got its final name, and its name another file
            if _is_at(descriptor, temporary):
                temporary.unlink()


def _is_ours(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError where another holds the lock, and other OSErrors where there are no locks."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return os.path.samestat(os.fstat(descriptor), found)
