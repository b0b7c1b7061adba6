"""
`sys.stdout` and `sys.stderr` without buffers: what was printed is with the node before the next statement. With several requests
at a time, each thread's output goes out by lines, so that lines of two requests do not mix.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from typing import Any


class _Partial(threading.local):
    line = b""


class Output(io.RawIOBase):
    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self._fd = fd
        self._lines = False
        self._partial = _Partial()
        self._renew_lock()
        # A child that was forked while another thread was writing would wait for that thread for ever.
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        # A signal's handler may print while its thread is printing.
        self._lock = threading.RLock()

    def hold_lines(self) -> None:
        self._lines = True

    def write(self, data: Any) -> int:
        given = bytes(data)
        ready = given
        if self._lines:
            ready, newline, self._partial.line = (self._partial.line + given).rpartition(b"\n")
            ready += newline
        if ready:
            self._write_all(ready)
        return len(given)

    def flush_partial(self) -> None:
        """What this thread has printed without a newline."""
        ready, self._partial.line = self._partial.line, b""
        if ready:
            self._write_all(ready)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        with self._lock:
            while view:
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:
                    # The node reads slowly: wait for room.
                    select.select([], [self._fd], [], 1)
                except OSError:
                    # Nobody reads any more.
                    return

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd


stdout = Output(1, "<stdout>")
stderr = Output(2, "<stderr>")


def _text(output: Output) -> io.TextIOWrapper:
    # As `python -u` does it: the raw stream where the buffered one would be.
    return io.TextIOWrapper(output, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)


def install_output() -> None:
    sys.stdout = _text(stdout)
    sys.stderr = _text(stderr)


def hold_lines() -> None:
    stdout.hold_lines()
    stderr.hold_lines()


def flush_output() -> None:
    stdout.flush_partial()
    stderr.flush_partial()
