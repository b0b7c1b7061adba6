"""The calls of the Lambda Runtime API, and Forkyard's assignment (services/contracts/runtime-api.ts)."""

from __future__ import annotations

import json
import re
from typing import Any, NotRequired, TypedDict

from .connection import Connection, Reply
from .errors import ErrorBody
from .fork_limits import ForkLimits

_BASE = "/2018-06-01/runtime"
_HOST = "Host: node\r\n"
_NEXT = f"GET {_BASE}/invocation/next HTTP/1.1\r\n{_HOST}Forkyard-Handler-Kind: lambda\r\n\r\n"


class Checkpoint(TypedDict):
    #: Variables of the function that are not in `environment`.
    withheld: list[str]


class Assignment(TypedDict):
    environment: dict[str, str]
    handler: str
    concurrency: int
    #: 32 bytes in Base64, or nothing.
    entropy: str
    #: Load the function, serve nothing, be forked.
    seed: NotRequired[ForkLimits]
    #: Of a process that is to be saved once the function is initialised.
    checkpoint: NotRequired[Checkpoint]
    #: Of a clone that is only tested: it serves the runtime's own probe.
    probe: NotRequired[bool]


class RuntimeApiError(ConnectionError):
    """The node refuses what a runtime needs to go on."""


def _expect(reply: Reply, status: int, call: str) -> Reply:
    if reply.status != status:
        raise RuntimeApiError(f"{call}: {reply.status} {reply.body[:1000].decode(errors='replace')}")
    return reply


class RuntimeApi:
    """One of the `concurrency` slots. All calls block, and raise OSError when the node cannot be reached."""

    def __init__(self, socket_path: str) -> None:
        self._connection = Connection(socket_path)

    def close(self) -> None:
        """The next call connects anew."""
        self._connection.close()

    def assignment(self) -> Assignment:
        """Long poll: answered when the instance has been given to a function."""
        reply = self._connection.request(f"GET /forkyard/v1/assignment HTTP/1.1\r\n{_HOST}\r\n")
        assignment: Assignment = json.loads(_expect(reply, 200, "assignment").body)
        return assignment

    def next(self) -> Reply:
        """Long poll for the next request."""
        return _expect(self._connection.request(_NEXT), 200, "next")

    def respond(self, request_id: str, body: bytes) -> None:
        self._post(f"{_BASE}/invocation/{request_id}/response", "", body)

    def fail(self, request_id: str, error: ErrorBody) -> None:
        self._post(f"{_BASE}/invocation/{request_id}/error", _error_header(error), json.dumps(error).encode())

    def saving(self, report: dict[str, Any]) -> None:
        """What the node is told before the process waits to be saved."""
        self._post("/forkyard/v1/checkpoint", "", json.dumps(report).encode())

    def init_failed(self, error: ErrorBody) -> None:
        self._post(f"{_BASE}/init/error", _error_header(error), json.dumps(error).encode())

    def _post(self, path: str, extra: str, body: bytes) -> None:
        """What the node does not want any more (a request that timed out) is no error of this instance."""
        head = (
            f"POST {path} HTTP/1.1\r\n{_HOST}Content-Type: application/json\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        try:
            reply = self._connection.request(head, body)
        except ConnectionError:
            # An answer over the limit is not read to its end. Whether the node is still there, the next call tells.
            return
        if reply.status >= 500:
            _expect(reply, 202, path)


def _error_header(error: ErrorBody) -> str:
    return f"Lambda-Runtime-Function-Error-Type: {re.sub(r'[^ -~]', '?', error['errorType'])}\r\n"
