"""
Initialises what needs no function, waits where it can be saved, becomes unique, is given its function, serves it. A seed serves
nothing: what serves are its forks, each at a socket of its own.
"""

from __future__ import annotations

import base64
import os
from typing import NoReturn

from .checkpoint import wait_for_restore
from .errors import error_body
from .fork import become_fork
from .fork_limits import Watch
from .handler_loader import load_handler
from .lifetime import end_with, exit_status
from .logs import install_logging, log_error
from .output import install_output
from .resources import Resources
from .runtime_api import RuntimeApi
from .serve import serve_forever
from .surroundings import apply_environment
from .unique import make_unique
from .unique_fork import Generators


def main() -> NoReturn:
    # Set only where the runner is tested outside of a sandbox.
    socket_path = os.environ.get("FORKYARD_API_SOCKET", "/run/forkyard/api.sock")
    install_output()
    install_logging()
    if os.environ.get("FORKYARD_CHECKPOINT") == "1":
        from .preload import preload

        preload()
        wait_for_restore()
    make_unique(b"")
    api = RuntimeApi(socket_path)
    assignment = api.assignment()
    make_unique(base64.b64decode(assignment["entropy"]))
    limits = assignment.get("seed")
    # Before any code of the function.
    watched = (limits, Resources(), Generators()) if limits else None
    try:
        apply_environment(assignment["environment"])
        handler = load_handler(assignment["handler"])
    except SystemExit as error:
        end_with(exit_status(error))
    except BaseException as error:
        body = error_body(error, "")
        log_error(body)
        api.init_failed(body)
        end_with(1)
    watch: Watch | None = None
    if watched:
        api.close()
        socket_path, watch = become_fork(socket_path, *watched)
        api = RuntimeApi(socket_path)
    serve_forever(api, socket_path, handler, assignment["concurrency"], watch)
