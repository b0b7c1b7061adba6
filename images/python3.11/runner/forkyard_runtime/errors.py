"""What a function's error looks like to its caller: Lambda's JSON."""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import TypedDict

_RUNNER = os.path.dirname(__file__)
#: The node takes 256 KiB: a deep recursion or a message with a whole document in it must not hide the error.
_MAX_FRAMES = 100
_MAX_MESSAGE = 32 * 1024
_MAX_FRAME = 1024


class ErrorBody(TypedDict):
    errorMessage: str
    errorType: str
    requestId: str
    stackTrace: list[str]


class RuntimeFault(Exception):
    """An error of the runtime itself, with one of Lambda's type names."""

    def __init__(self, error_type: str, message: str, stack_trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.stack_trace = stack_trace or []


def error_body(error: BaseException, request_id: str) -> ErrorBody:
    if isinstance(error, RuntimeFault):
        error_type, stack_trace = error.error_type, error.stack_trace
    else:
        error_type, stack_trace = type(error).__name__, _stack_trace(error.__traceback__)
    return {
        "errorMessage": _message(error)[:_MAX_MESSAGE],
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": stack_trace,
    }


def _message(error: BaseException) -> str:
    """The conversion of an error of the function is its own code, and may fail too."""
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__} that cannot be shown>"


def _stack_trace(start: TracebackType | None) -> list[str]:
    """From the function's first frame on. Quadruples: `traceback` draws carets below frames of its own type."""
    frames = [(frame.filename, frame.lineno or 0, frame.name, frame.line) for frame in traceback.extract_tb(start)]
    while frames and _is_ours(frames[0][0]):
        del frames[0]
    texts = [text[:_MAX_FRAME] for text in traceback.format_list(frames)]
    if len(texts) <= _MAX_FRAMES:
        return texts
    half = _MAX_FRAMES // 2
    return [*texts[:half], f"  [{len(texts) - 2 * half} frames more]\n", *texts[-half:]]


def _is_ours(filename: str) -> bool:
    return filename.startswith((_RUNNER, "<frozen importlib")) or filename.endswith("/importlib/__init__.py")
