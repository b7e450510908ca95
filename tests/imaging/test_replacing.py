"""Temporary files: what a killed process leaves is removed, what is being written is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tapetum.imaging.replacing import replacing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")

WRITER = """
import os, sys, time
from pathlib import Path
from tapetum.imaging.replacing import replacing
with replacing(Path(sys.argv[1])) as descriptor:
    os.write(descriptor, b"half")
    print("begun", flush=True)
    time.sleep(60)
"""


def write(path: Path, data: bytes) -> None:
    with replacing(path) as descriptor:
        os.write(descriptor, data)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def begin(path: Path) -> subprocess.Popen[str]:
    """Another process in the midst of writing ``path``."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    kill(begin(path))
    (stale,) = names(tmp_path)
    assert stale.startswith(".tapetum-")
    write(tmp_path / "b.png", b"other")
    assert names(tmp_path) == [stale, "b.png"], "it belongs to another file"
    write(path, b"whole")
    assert names(tmp_path) == ["a.png", "b.png"]
    assert path.read_bytes() == b"whole"


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    process = begin(path)
    try:
        (under_way,) = names(tmp_path)
        write(path, b"whole")
        assert names(tmp_path) == [under_way, "a.png"]
        assert (tmp_path / under_way).read_bytes() == b"half"
    finally:
        kill(process)
    write(path, b"again")
    assert names(tmp_path) == ["a.png"]


def test_the_same_file_twice_at_once_is_the_last_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with replacing(path) as first:
        os.write(first, b"first")
        with replacing(path) as second:
            os.write(second, b"second")
            assert len(names(tmp_path)) == 2
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["a.png"]


def test_nothing_is_written_or_removed_through_a_link(tmp_path: Path) -> None:
    path, precious = tmp_path / "a.png", tmp_path / "precious"
    precious.write_bytes(b"precious")
    kill(begin(path))
    (stale,) = set(names(tmp_path)) - {"precious"}
    (tmp_path / stale).unlink()
    (tmp_path / stale).symlink_to(precious)
    write(path, b"whole")
    assert precious.read_bytes() == b"precious"
    assert path.read_bytes() == b"whole"
    assert not path.is_symlink()
    (tmp_path / stale).unlink()
    os.link(precious, tmp_path / stale)
    write(path, b"again")
    assert precious.read_bytes() == b"precious"


def test_without_locks_it_works_and_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    path = tmp_path / "a.png"
    kill(begin(path))
    before = names(tmp_path)

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    write(path, b"whole")
    assert names(tmp_path) == [*before, "a.png"]
    write(tmp_path / "b.png", b"other")
    assert names(tmp_path) == [*before, "a.png", "b.png"]
