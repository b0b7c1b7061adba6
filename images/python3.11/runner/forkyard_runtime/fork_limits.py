"""`images/native/fork-limits.h`, which holds the forks of a seed to their limits, from Python."""

from __future__ import annotations

import ctypes
import os
from typing import TypedDict

class ForkLimits(TypedDict):
    """Of each fork (services/contracts/runtime-api.ts)."""

    memoryMiB: int
    processes: int
    tmpMiB: int


class Watched(ctypes.Structure):
    """A `pid` of 0 is no fork."""

    _fields_ = [
        ("pid", ctypes.c_int32),
        ("used_mib", ctypes.c_int32),
        ("cause", ctypes.c_int32),
        ("activity", ctypes.c_uint32),
        ("of_files_kib", ctypes.c_int32),
        ("process_limit", ctypes.c_int32),
    ]


class Watch:
    def __init__(self, count: int, limits: ForkLimits) -> None:
        self._calls = ctypes.CDLL(os.path.join(os.path.dirname(os.path.dirname(__file__)), "fork-limits.so"), use_errno=True)
        self._limits = limits
        self.forks = (Watched * count)()
        self.fresh_mib: int = self._calls.begin_watch()

    def look(self) -> float | None:
        """Kills what is above a limit, and what ended forks left. Returns in how many seconds to look again, if at all."""
        wait: int = self._calls.watch_forks(
            self.forks, len(self.forks), self._limits["memoryMiB"], self._limits["processes"]
        )
        return None if wait < 0 else wait / 1000

    def woken(self) -> bool:
        """A fork was given work while nobody was to look for long."""
        return bool(self._calls.watch_woken())

    def wake(self) -> None:
        """In a fork that is given work."""
        self._calls.wake_watch()

    def own_surroundings(self) -> None:
        """In a fork, first of all."""
        if self._calls.own_surroundings(self._limits["processes"], self._limits["tmpMiB"]) != 0:
            raise OSError(ctypes.get_errno(), "a fork's own surroundings")
