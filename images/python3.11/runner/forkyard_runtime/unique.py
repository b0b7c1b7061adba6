"""
What must differ between the clones of one checkpoint. docs/decisions/0026 lists where each piece of state sits. Only what is
loaded has state: what a boot imports later seeds itself then. Everything here happens before any code of a function is loaded,
and once more in each fork, after that.
"""

import os
import sys
import time
from typing import Any

_LIBRARY = os.path.dirname(os.__file__) + "/"


def make_unique(entropy: bytes) -> None:
    """`entropy` comes from the host and is mixed in; without it, clones must differ as well."""
    _reseed_openssl(entropy)
    _reseed_random(entropy)
    _forget_names()
    _restart_clock()


def loaded(name: str) -> Any:
    """The library's module, if it is loaded: a function may have one of the same name."""
    module = sys.modules.get(name)
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return module if isinstance(origin, str) and origin.startswith(_LIBRARY) else None


def _reseed_openssl(entropy: bytes) -> None:
    """Reseeds the primary generator from the kernel and mixes these bytes in; those of the threads below it notice and follow."""
    if ssl := loaded("ssl"):
        ssl.RAND_add(os.urandom(48) + entropy, 48.0)
        if not ssl.RAND_status():
            raise RuntimeError("OpenSSL's random generator cannot be seeded")


def _reseed_random(entropy: bytes) -> None:
    """As much as the Mersenne Twister holds. `secrets` and `random.SystemRandom` have no state: they ask the kernel."""
    if random := loaded("random"):
        random.seed(os.urandom(2500) + entropy)


def _forget_names() -> None:
    """Made on first use, from generators of their own; nothing here uses them before the clone, should a library do."""
    if tempfile := loaded("tempfile"):
        tempfile._name_sequence = None
    if uuid := loaded("uuid"):
        uuid._node = None
        uuid._last_timestamp = None


def _restart_clock() -> None:
    """`relativeCreated` of log records counts from here."""
    if logging := loaded("logging"):
        logging._startTime = time.time()
