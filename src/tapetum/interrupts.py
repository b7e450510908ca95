"""Ctrl-C that waits for the piece of work at hand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_noted(unit: str) -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C was pressed (or SIGTERM came, which ``timeout``, batch systems and
    containers send); only the second time raises KeyboardInterrupt.

    Python would raise it wherever it is, and inside of a callback from libvips' C code it is printed and lost.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield lambda: False
        return
    pressed = threading.Event()

    def press(*_: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        # not print, which may be what was interrupted
        os.write(2, f"stopping after this {unit} (Ctrl-C again: at once)\n".encode())

    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    usual = {number: signal.signal(number, press) for number in heard}  # what runs in the background may ignore Ctrl-C
    try:
        yield pressed.is_set
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
