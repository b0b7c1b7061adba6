"""Pulls requests for as long as the process lives: one slot in the main thread, or several, each in a thread of its own."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn

from .connection import Reply
from .errors import ErrorBody, error_body
from .fork_limits import Watch
from .handler_loader import Handler
from .lambda_context import LambdaContext
from .lifetime import end_with, exit_status
from .logs import log_error, set_request
from .marshal_json import parse_event, to_json
from .output import flush_output, hold_lines
from .runtime_api import RuntimeApi


def serve_forever(
    api: RuntimeApi, socket_path: str, handler: Handler, concurrency: int, watch: Watch | None
) -> NoReturn:
    """`api` is the first slot's: its connection is open already. The process ends when the node cannot be reached."""
    if concurrency == 1:
        _serve_slot(api, handler, watch, alone=True)
    hold_lines()
    for number in range(concurrency):
        slot = api if number == 0 else RuntimeApi(socket_path)
        threading.Thread(target=_serve_slot, args=(slot, handler, watch, False), name=f"slot-{number}", daemon=True).start()
    # The main thread runs the handlers of signals.
    while True:
        threading.Event().wait()


def _serve_slot(api: RuntimeApi, handler: Handler, watch: Watch | None, alone: bool) -> NoReturn:
    try:
        while True:
            reply = api.next()
            if watch:
                watch.wake()
            request_id = reply.headers.get("lambda-runtime-aws-request-id", "")
            # One process has one environment: with several requests at a time it could only name one of them.
            if alone:
                _set_trace_id(reply.headers.get("lambda-runtime-trace-id"))
            set_request(request_id, alone)
            answer = _answer(handler, reply, request_id)
            flush_output()
            if isinstance(answer, bytes):
                api.respond(request_id, answer)
            else:
                api.fail(request_id, answer)
            set_request(None, alone)
    except SystemExit as error:
        end_with(exit_status(error))
    except BaseException as error:
        print(f"the node cannot be reached: {error!r}", file=sys.stderr)
        end_with(1)


def _answer(handler: Handler, reply: Reply, request_id: str) -> bytes | ErrorBody:
    try:
        return to_json(handler(parse_event(reply.body), LambdaContext(reply)))
    except SystemExit:
        raise
    except BaseException as error:
        body = error_body(error, request_id)
        log_error(body)
        return body


def _set_trace_id(trace_id: str | None) -> None:
    if trace_id is None:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    else:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
