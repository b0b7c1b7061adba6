"""
What must differ between the forks of one seed, beyond what clones of a checkpoint have in common (unique.py): the function has run
before the fork, so what seeds itself on first use may have done so. docs/decisions/0027 lists it.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

from .unique import loaded


class Generators:
    """
    The `random.Random()` that the function makes at its initialisation without a seed of its own. Those with one are meant to
    repeat, and do.
    """

    def __init__(self) -> None:
        import random

        self._class = random.Random
        self._seed = random.Random.seed
        self._unseeded: dict[int, weakref.ref[Any]] = {}
        remembered, seed = self._unseeded, self._seed

        def remember(generator: Any, a: Any = None, version: int = 2) -> None:
            if a is None:
                remembered[id(generator)] = weakref.ref(generator)
            else:
                remembered.pop(id(generator), None)
            seed(generator, a, version)

        self._class.seed = remember  # type: ignore[method-assign]

    def renew(self, entropy: bytes) -> None:
        self._class.seed = self._seed  # type: ignore[method-assign]
        for reference in self._unseeded.values():
            generator = reference()
            if generator is not None:
                generator.seed(os.urandom(2500) + entropy)


def renew_loaded(entropy: bytes, generators: Generators) -> None:
    generators.renew(entropy)
    if uuid := loaded("uuid"):
        # libuuid keeps the node and the clock sequence that it once drew; Python's own draws them from `random`.
        uuid._generate_time_safe = None
        uuid._node = uuid._random_getnode()
    if process := loaded("multiprocessing.process"):
        process.current_process().authkey = os.urandom(32)
    if loaded("sqlite3"):
        # Reseeds when it is next used.
        ctypes.CDLL("libsqlite3.so.0").sqlite3_randomness(0, None)
