"""Events from JSON, results to JSON, as Lambda does."""

from __future__ import annotations

import decimal
import json
import secrets
from typing import Any

from .errors import RuntimeFault


def parse_event(body: bytes) -> Any:
    """@raises RuntimeFault Runtime.UnmarshalError when the event is no JSON."""
    try:
        return json.loads(body.decode()) if body else {}
    except Exception as error:
        raise RuntimeFault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from error


def to_json(result: Any) -> bytes:
    """@raises RuntimeFault Runtime.MarshalError when the result has no JSON; NaN and infinity have none."""
    try:
        text = _encode(result, ensure_ascii=False)
        try:
            return text.encode()
        except UnicodeEncodeError:
            # Half a surrogate pair has no UTF-8, but an escape.
            return _encode(result, ensure_ascii=True).encode()
    except Exception as error:
        raise RuntimeFault("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


def _encode(result: Any, ensure_ascii: bool) -> str:
    """Decimals become numbers with all their digits. `json` can write them as text only: they are put in afterwards."""
    mark = ""
    decimals: list[decimal.Decimal] = []

    def special(value: Any) -> Any:
        nonlocal mark
        if not isinstance(value, decimal.Decimal):
            raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
        if not value.is_finite():
            return float(value)
        # Nothing of the function's can be mistaken for it.
        mark = mark or secrets.token_hex(16)
        decimals.append(value)
        return f"{mark}{len(decimals) - 1}"

    text = json.dumps(result, default=special, allow_nan=False, ensure_ascii=ensure_ascii)
    if not decimals:
        return text
    first, *parts = text.split(f'"{mark}')
    pairs = (part.split('"', 1) for part in parts)
    return first + "".join(f"{decimals[int(index)]}{rest}" for index, rest in pairs)
