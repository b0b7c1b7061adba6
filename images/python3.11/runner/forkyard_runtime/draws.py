"""Whether random numbers are drawn while a function is initialised: what it keeps of them is the same in all clones."""

from __future__ import annotations

import os
import random
from typing import Any


class Draws:
    """Counts until `stop`."""

    def __init__(self) -> None:
        self._state = random.getstate()
        self._urandom: Any = os.urandom
        self._count = 0
        self._set(self._counted)

    def stop(self) -> list[str]:
        """Which generators were used."""
        self._set(self._urandom)
        used = [f"os.urandom {self._count} times"] if self._count else []
        return used + (["random"] if random.getstate() != self._state else [])

    def _counted(self, size: int) -> bytes:
        self._count += 1
        drawn: bytes = self._urandom(size)
        return drawn

    def _set(self, draw: Any) -> None:
        # `secrets` and `random.SystemRandom` took it by name.
        os.urandom = draw
        random._urandom = draw  # type: ignore[attr-defined]
