"""
The process that is saved once its function is initialised, and its clones. What cannot be saved, or must not, is told to the node, which
then makes no checkpoint of this revision.
"""

from __future__ import annotations

import time
from typing import Any, NoReturn

from .checkpoint import wait_for_restore
from .draws import Draws
from .errors import error_body
from .hooks import run_before_snapshot
from .left_open import descriptors, left_open
from .lifetime import end_with
from .output import flush_output
from .runtime_api import RuntimeApi
from .withheld import WithheldEnvironment, withhold


class Saving:
    """Make it before anything of the function is loaded, and after the environment is the function's."""

    def __init__(self, api: RuntimeApi, withheld: list[str]) -> None:
        self._api = api
        self._from = time.monotonic()
        self._environment = withhold(withheld)
        self._descriptors = descriptors()
        self._draws = Draws()

    def refuse(self, error: BaseException) -> NoReturn:
        """Instead, when the initialisation or a hook failed."""
        body = error_body(error, "")
        self._end({"refused": self._because(f"{body['errorType']}: {body['errorMessage']}"), "warnings": [], "initMs": 0})

    def wait(self) -> WithheldEnvironment:
        """Runs hooks, tells the node, and waits. Returns in each clone; a process that is refused ends."""
        report: dict[str, Any] = {
            "initMs": (time.monotonic() - self._from) * 1000,
            "warnings": _warnings(self._draws.stop()),
        }
        try:
            run_before_snapshot()
        except Exception as error:
            self.refuse(error)
        left = left_open(self._descriptors)
        refused = self._because(f"leaves open: {left}" if left else None)
        if refused:
            self._end({**report, "refused": refused})
        flush_output()
        self._api.saving(report)
        self._api.close()
        wait_for_restore()
        return self._environment

    def _because(self, otherwise: str | None) -> str | None:
        """The reason that explains others comes first: without its secret, a function may fail in any way."""
        if self._environment.read:
            return f"reads a secret while it is initialised: {', '.join(self._environment.read)}"
        return otherwise and otherwise[:500]

    def _end(self, report: dict[str, Any]) -> NoReturn:
        self._api.saving(report)
        end_with(0)


def _warnings(used: list[str]) -> list[str]:
    if not used:
        return []
    return [
        f"random numbers were drawn while the function was initialised ({', '.join(used)}): what it keeps of them is the same in all "
        "instances that start from its checkpoint. Draw them in the handler, or in a hook: @register_after_restore"
    ]
