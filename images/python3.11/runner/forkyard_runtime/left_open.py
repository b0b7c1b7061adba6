"""What the initialisation of a function leaves open and a checkpoint cannot have, or should not. Files of the sandbox are saved with it."""

from __future__ import annotations

import os
import stat
import threading


#: `RLIMIT_NOFILE` of a sandbox.
_DESCRIPTOR_LIMIT = 1024


def descriptors() -> dict[int, str]:
    """
    Those that are no files of the sandbox. Without a look into `/proc`: each name that is looked up there becomes an object of gVisor's
    kernel, which every restore would decode.
    """
    found: dict[int, str] = {}
    for fd in range(3, _DESCRIPTOR_LIMIT):
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISCHR(mode)):
            found[fd] = "socket" if stat.S_ISSOCK(mode) else "pipe" if stat.S_ISFIFO(mode) else f"of kind {mode:o}"
    return found


def left_open(before: dict[int, str]) -> str | None:
    """In words; nothing when the process can be saved. Threads of a clone would run before it is unique again."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            return f"thread ({thread.name})"
    for fd, target in descriptors().items():
        if before.get(fd) != target:
            return f"descriptor ({target})"
    return "process (a child)" if has_child() else None


def has_child() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
