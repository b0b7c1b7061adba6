"""`logging` as in Lambda: `[LEVEL]`, time, request id, message, separated by tabs; the root logger has this handler from the start."""

from __future__ import annotations

import logging
import threading
import time

from .errors import ErrorBody
from .output import stdout


class _Current(threading.local):
    request_id: str | None = None


_current = _Current()
#: For threads that the function starts, when there is only one request that they can belong to.
_only: str | None = None


def set_request(request_id: str | None, alone: bool) -> None:
    global _only
    _current.request_id = request_id
    if alone:
        _only = request_id


class _RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = _current.request_id or _only or ""
        return True


class _LogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            stdout.write((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except Exception:
            self.handleError(record)


def install_logging() -> None:
    formatter = logging.Formatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = _LogHandler()
    handler.setFormatter(formatter)
    handler.addFilter(_RequestIdFilter())
    logging.getLogger().addHandler(handler)


def log_error(body: ErrorBody) -> None:
    """In one write, so that nothing comes between its lines."""
    lines = [f"[ERROR] {body['errorType']}: {body['errorMessage']}", "Traceback (most recent call last):"]
    lines += [line for entry in body["stackTrace"] for line in entry.splitlines()]
    stdout.write("\n".join([*lines, ""]).encode("utf-8", "backslashreplace"))
