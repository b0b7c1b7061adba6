"""
Initialises what needs no function, waits where it can be saved, becomes unique, is given its function, serves it. A seed serves
nothing: what serves are its forks, each at a socket of its own. A process that is saved with its function (save.py) serves nothing
either: its clones do.
"""

from __future__ import annotations

import base64
import os
import sys
from typing import NoReturn

from .checkpoint import wait_for_restore
from .errors import error_body
from .fork import become_fork
from .fork_limits import Watch
from .handler_loader import load_handler
from .hooks import run_after_restore
from .lifetime import end_with, exit_status
from .logs import install_logging, log_error
from .output import install_output
from .resources import Resources
from .runtime_api import Assignment, RuntimeApi
from .save import Saving
from .serve import serve_forever
from .surroundings import apply_environment
from .unique import make_unique
from .unique_fork import Generators


def main() -> NoReturn:
    # Set only where the runner is tested outside of a sandbox.
    socket_path = os.environ.get("FORKYARD_API_SOCKET", "/run/forkyard/api.sock")
    install_output()
    install_logging()
    to_be_saved = os.environ.get("FORKYARD_CHECKPOINT")
    if to_be_saved:
        from .preload import preload

        preload()
    if to_be_saved == "runtime":
        wait_for_restore()
    api, assignment = _be_assigned(socket_path)
    saving: Saving | None = None
    limits = assignment.get("seed")
    # Before any code of the function.
    watched = (limits, Resources(), Generators()) if limits else None
    try:
        apply_environment(assignment["environment"])
        if checkpoint := assignment.get("checkpoint"):
            saving = Saving(api, checkpoint["withheld"])
        handler = load_handler(assignment["handler"])
    except SystemExit as error:
        end_with(exit_status(error))
    except BaseException as error:
        if saving:
            saving.refuse(error)
        _init_failed(api, error)
    watch: Watch | None = None
    if watched:
        api.close()
        socket_path, watch = become_fork(socket_path, *watched)
        api = RuntimeApi(socket_path)
    if saving:
        environment = saving.wait()
        api, assignment = _be_assigned(socket_path)
        try:
            if assignment.get("probe"):
                sys.path.insert(0, assignment["environment"]["LAMBDA_TASK_ROOT"])
                handler = load_handler(assignment["handler"])
            else:
                environment.restore(assignment["environment"])
                run_after_restore()
        except BaseException as error:
            _init_failed(api, error)
    serve_forever(api, socket_path, handler, assignment["concurrency"], watch)


def _be_assigned(socket_path: str) -> tuple[RuntimeApi, Assignment]:
    """Unique already when it asks, and once more with the host's randomness."""
    make_unique(b"")
    api = RuntimeApi(socket_path)
    assignment = api.assignment()
    make_unique(base64.b64decode(assignment["entropy"]))
    return api, assignment


def _init_failed(api: RuntimeApi, error: BaseException) -> NoReturn:
    body = error_body(error, "")
    log_error(body)
    api.init_failed(body)
    end_with(1)
