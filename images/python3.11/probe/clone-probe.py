"""Handler of the checkpoint builder's gate: everything in which two clones must differ."""

import hashlib
import logging
import os
import random
import secrets
import sqlite3
import ssl
import tempfile
import threading
import time
import uuid
from typing import Any


def _client_hello() -> bytes:
    """The first message of a TLS handshake: a random number and session id, and a fresh key to exchange."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="example.com")
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def _in_thread() -> str:
    drawn: list[str] = []
    thread = threading.Thread(target=lambda: drawn.append(ssl.RAND_bytes(16).hex()))
    thread.start()
    thread.join()
    return drawn[0]


def handler(event: Any, context: Any) -> dict[str, Any]:
    hello = _client_hello()
    return {
        "urandom": os.urandom(16).hex(),
        "secrets": secrets.token_hex(16),
        "random": random.random(),
        "getrandbits": str(random.getrandbits(128)),
        "newRandom": random.Random().random(),
        "uuid1": str(uuid.uuid1()),
        "uuid4": str(uuid.uuid4()),
        "opensslBytes": ssl.RAND_bytes(16).hex(),
        "opensslInThread": _in_thread(),
        "tlsRandom": hello[11:76].hex(),
        "tlsKeyShare": hashlib.sha256(hello[76:]).hexdigest(),
        "temporaryName": tempfile.mktemp(),
        "sqlite": sqlite3.connect(":memory:").execute("SELECT hex(randomblob(16))").fetchone()[0],
        "timeOriginError": abs(time.time() - logging._startTime) * 1000,  # type: ignore[attr-defined]
    }
