"""
Hooks around a checkpoint of the function, by the names of AWS's library of this name: each takes a callable and its arguments, or is a
decorator. Before the checkpoint what was registered last runs first; after the restore what was registered first.
"""

from __future__ import annotations

from typing import Any, Callable, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])
_Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_before: list[_Hook] = []
_after: list[_Hook] = []


def register_before_snapshot(func: _F, *args: Any, **kwargs: Any) -> _F:
    _before.append((func, args, kwargs))
    return func


def register_after_restore(func: _F, *args: Any, **kwargs: Any) -> _F:
    _after.append((func, args, kwargs))
    return func


def get_before_snapshot() -> list[_Hook]:
    return _before


def get_after_restore() -> list[_Hook]:
    return _after
