"""
One keep-alive connection to the node, one request at a time. Thinner than `http.client`, which parses headers as e-mail. A
connection that failed is closed; the next request opens another one.
"""

from __future__ import annotations

import socket
from typing import NamedTuple


class Reply(NamedTuple):
    status: int
    #: By lower-case name; text is Latin-1, as it came.
    headers: dict[str, str]
    body: bytes


class ProtocolError(ConnectionError):
    """The node sent what is no HTTP/1.1, or closed the connection in the middle of it."""


#: Sent together with the head: one system call.
_SMALL = 64 * 1024
_READ = 64 * 1024


class Connection:
    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._socket: socket.socket | None = None
        #: What came and was not used yet.
        self._ahead = bytearray()

    def request(self, head: str, body: bytes = b"") -> Reply:
        """`head` ends with an empty line. @raises OSError when the connection fails before the reply is here."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.connect(self._path)
            raw_head = head.encode("latin-1")
            if len(body) <= _SMALL:
                self._socket.sendall(raw_head + body)
            else:
                self._socket.sendall(raw_head)
                self._socket.sendall(body)
            reply = self._read_reply()
        except BaseException:
            self.close()
            raise
        if reply.headers.get("connection", "").lower() == "close":
            self.close()
        return reply

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._ahead.clear()

    def _read_reply(self) -> Reply:
        first, *lines = self._take_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise ProtocolError(f"not an HTTP reply: {first[:100]!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._read_chunks()
        else:
            body = self._take(int(headers.get("content-length", "0")))
        return Reply(int(rest[:3]), headers, body)

    def _read_chunks(self) -> bytes:
        parts: list[bytes] = []
        while size := int(self._take_until(b"\r\n").split(b";")[0], 16):
            parts.append(self._take(size))
            self._take(2)
        while self._take_until(b"\r\n"):
            pass
        return b"".join(parts)

    def _take_until(self, mark: bytes) -> bytes:
        searched = 0
        while (at := self._ahead.find(mark, searched)) < 0:
            searched = max(0, len(self._ahead) - len(mark))
            self._read_more(_READ)
        taken = bytes(self._ahead[:at])
        del self._ahead[: at + len(mark)]
        return taken

    def _take(self, size: int) -> bytes:
        while len(self._ahead) < size:
            self._read_more(max(_READ, size - len(self._ahead)))
        taken = bytes(self._ahead[:size])
        del self._ahead[:size]
        return taken

    def _read_more(self, size: int) -> None:
        assert self._socket is not None
        part = self._socket.recv(min(size, 1024 * 1024))
        if not part:
            raise ProtocolError("the node closed the connection")
        self._ahead += part
