"""
What a function's initialisation leaves open and a fork cannot have: descriptors and shared memory would be common to all forks,
threads and child processes do not exist in them, and timers do not run there.
"""

from __future__ import annotations

import os
import signal
import time

from .left_open import has_child

#: What was begun and ends by itself, as a thread that does something once, is given this long.
_SETTLE_S = 0.05
_ROUNDS = 10


class Resources:
    """Made before the function is loaded."""

    def __init__(self) -> None:
        self._descriptors = _descriptors()
        self._threads = _threads()
        self._shared = _shared_memory()

    def opened(self) -> str | None:
        """In words, what is open now and was not before; nothing when the process can be forked."""
        found = self._find()
        for _ in range(_ROUNDS):
            if found is None:
                break
            time.sleep(_SETTLE_S / _ROUNDS)
            found = self._find()
        return found

    def _find(self) -> str | None:
        if (more := _threads() - self._threads) > 0:
            return f"thread ({more} more)"
        if has_child():
            return "process (a child)"
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            if signal.getitimer(timer) != (0.0, 0.0):
                return "timer (setitimer)"
        for number, target in _descriptors().items():
            if self._descriptors.get(number) != target:
                return f"descriptor ({target})"
        for mapping in _shared_memory() - self._shared:
            return f"shared memory ({mapping})"
        return None


def _descriptors() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            # The directory itself, while it was read.
            continue
    return found


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _shared_memory() -> set[str]:
    """Writable mappings that a fork would have in common with its siblings."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        lines = [line.split() for line in file]
    return {f"{fields[0]} {' '.join(fields[5:])}".strip() for fields in lines if fields[1][1] == "w" and fields[1][3] == "s"}
