"""
While a function is initialised in order to be saved, its secrets are not in its environment: what is read then would be in the
checkpoint's pages. Whoever asks for the value of one is noticed, and not saved; whoever only lists the names is not.
"""

from __future__ import annotations

import os
import subprocess
from typing import Any, Iterator

#: What is told to a clone about itself, and was something else in the process that was saved.
_IDENTITY = ("AWS_LAMBDA_LOG_STREAM_NAME",)


class _Watched(os._Environ):  # type: ignore[type-arg]
    """Of text or of bytes, as what it replaces. It takes the place of the class of objects that others hold already."""

    def __getitem__(self, key: Any) -> Any:
        _state.asked(key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        for name in list(_state.withheld):
            yield name if self is os.environ else os.fsencode(name)

    def __len__(self) -> int:
        return super().__len__() + len(_state.withheld)

    def __contains__(self, key: object) -> bool:
        name = os.fsdecode(key) if isinstance(key, bytes) else key
        return name in _state.withheld or super().__contains__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _state.withheld.discard(os.fsdecode(key))
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        name = os.fsdecode(key)
        if name in _state.withheld:
            _state.withheld.discard(name)
        else:
            super().__delitem__(key)

    def copy(self) -> dict[Any, Any]:
        return {key: self[key] for key in self}


class WithheldEnvironment:
    def __init__(self) -> None:
        self.withheld: set[str] = set()
        #: Names whose values were asked for; or who else took the whole environment.
        self.read: dict[str, None] = {}

    def asked(self, key: Any) -> None:
        name = os.fsdecode(key) if isinstance(key, (str, bytes)) else ""
        if name in self.withheld:
            self.read[name] = None

    def begin(self, names: list[str]) -> None:
        self.withheld = set(names)
        if not names:
            return
        for environ in (os.environ, os.environb):
            environ.__class__ = _Watched
        self._watch_children()

    def restore(self, environment: dict[str, str]) -> None:
        """What the function itself has set or removed since stays as it is."""
        late = [*self.withheld, *_IDENTITY]
        self.withheld = set()
        for environ in (os.environ, os.environb):
            environ.__class__ = os._Environ
        for name in late:
            if name in environment:
                os.environ[name] = environment[name]

    def _watch_children(self) -> None:
        """A child is given the process's own variables, which nobody sees it read."""

        def watch(module: Any, name: str) -> None:
            original = getattr(module, name)

            def watched(*args: Any, **kwargs: Any) -> Any:
                if self.withheld:
                    self.read["all, for a child process"] = None
                return original(*args, **kwargs)

            setattr(module, name, watched)

        for module, name in ((subprocess, "_fork_exec"), (os, "system"), (os, "posix_spawn"), (os, "posix_spawnp"), (os, "fork")):
            watch(module, name)


_state = WithheldEnvironment()


def withhold(names: list[str]) -> WithheldEnvironment:
    _state.begin(names)
    return _state
