"""How the process ends: at once, whatever threads the function has left, and with nothing lost that was printed."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

from .output import flush_output


def exit_status(error: SystemExit) -> int:
    """As Python itself takes it."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def end_with(status: int) -> NoReturn:
    try:
        atexit._run_exitfuncs()
    finally:
        flush_output()
        os._exit(status)
