"""Runs the hooks that a function has registered with `snapshot_restore_py`, in Lambda's order and with its names for what they raise."""

from __future__ import annotations

import sys
import traceback
from typing import Any, Iterable

from .errors import RuntimeFault


def _registered(which: str) -> list[Any]:
    """The image's module, or the function's own copy of AWS's library, which wins as all of its modules do."""
    library = sys.modules.get("snapshot_restore_py")
    hooks = getattr(library, which, None)
    return list(hooks()) if hooks else []


def _run(hooks: Iterable[Any], error_type: str) -> None:
    for func, args, kwargs in hooks:
        try:
            func(*args, **kwargs)
        except Exception as error:
            trace = traceback.format_tb(error.__traceback__)[1:]
            raise RuntimeFault(error_type, f"{type(error).__name__}: {error}", trace) from error


def run_before_snapshot() -> None:
    _run(reversed(_registered("get_before_snapshot")), "Runtime.BeforeSnapshotError")


def run_after_restore() -> None:
    _run(_registered("get_after_restore"), "Runtime.AfterRestoreError")
