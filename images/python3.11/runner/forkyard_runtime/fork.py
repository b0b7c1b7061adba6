"""
The seed of a function, and its forks. The seed has loaded the function and runs none of its code any more; over a connection to
`<directory>/seed.sock` it speaks what `images/nodejs24.x/native/runner-calls.c` describes. Only its children go on from here.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import select
import signal
import socket
import sys
import time

from .fork_limits import ForkLimits, Watch, Watched
from .resources import Resources
from .unique import make_unique
from .unique_fork import Generators, renew_loaded

_MAX_FORKS = 64
_FORK = re.compile(rb"fork ([0-9a-f]{1,32}) ([0-9a-f]{1,128})")
_KILL = re.compile(rb"kill ([0-9a-f]{1,32})")
#: After a fork; the watch itself says when to look again.
_FIRST_LOOK_S = 0.02
#: The status of a child that could not be made an instance.
_NOT_SET_UP = 71


def become_fork(socket_path: str, limits: ForkLimits, resources: Resources, generators: Generators) -> tuple[str, Watch]:
    """Returns in each fork, with the path of its own socket. The seed itself ends with the node's connection."""
    directory = os.path.dirname(socket_path)
    unfit = resources.opened()
    hello = {"ready": True} if unfit is None else {"unfit": unfit[:1000]}
    seed = _Seed(directory, limits)
    # Nothing that is alive now is walked by a fork's collections, which would copy every page that they write to.
    gc.collect()
    gc.collect()
    gc.freeze()
    fork_id, entropy = seed.serve(json.dumps(hello, separators=(",", ":")).encode() + b"\n")
    os.environ["AWS_LAMBDA_LOG_STREAM_NAME"] = fork_id
    make_unique(entropy)
    renew_loaded(entropy, generators)
    return f"{directory}/{fork_id}.sock", seed.watch


class _Seed:
    def __init__(self, directory: str, limits: ForkLimits) -> None:
        self._directory = directory
        self.watch = Watch(_MAX_FORKS, limits)
        self._channel = _connect(f"{directory}/seed.sock")
        #: By place in the watch, as what follows.
        self._ids = [""] * _MAX_FORKS
        #: What the node was told.
        self._told_mib = [0] * _MAX_FORKS
        #: When to look at the forks, if there are any.
        self._due: float | None = None

    def serve(self, hello: bytes) -> tuple[str, bytes]:
        """Returns in each child, with its id and the host's randomness."""
        # A child's end interrupts the wait for messages. A handler of the function's own is set aside: it is for the forks.
        asleep, awake = socket.socketpair()
        for end in (asleep, awake):
            end.setblocking(False)
        handler = signal.signal(signal.SIGCHLD, lambda *_: None)
        wakeup = signal.set_wakeup_fd(awake.fileno(), warn_on_full_buffer=False)
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        try:
            forked = self._serve(hello, asleep)
        except OSError as error:
            print(f"the seed cannot reach its node: {error!r}", file=sys.stderr)
            forked = None
        if not forked:
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if handler is None else handler)
        for end in (asleep, awake, self._channel):
            end.close()
        return forked

    def _serve(self, hello: bytes, asleep: socket.socket) -> tuple[str, bytes] | None:
        """Nothing in the seed, when the node has closed the connection."""
        self._channel.sendall(hello)
        pending = b""
        while True:
            # What an ended one left is to go at once.
            if self._reap() or self.watch.woken() or (self._due is not None and time.monotonic() >= self._due):
                self._look()
            wait = None if self._due is None else max(0.0, self._due - time.monotonic())
            ready, _, _ = select.select([self._channel, asleep], [], [], wait)
            if asleep in ready:
                asleep.recv(4096)
            if self._channel not in ready:
                continue
            received = self._channel.recv(4096)
            if not received:
                return None
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                if forked := self._hear(line):
                    return forked

    def _hear(self, line: bytes) -> tuple[str, bytes] | None:
        if match := _FORK.fullmatch(line):
            return self._fork(match[1].decode(), bytes.fromhex(match[2].decode()))
        if match := _KILL.fullmatch(line):
            for fork, fork_id in zip(self.watch.forks, self._ids):
                # Not reaped yet, so the number is still this child's.
                if fork.pid and fork_id == match[1].decode():
                    os.kill(fork.pid, signal.SIGKILL)
        return None

    def _fork(self, fork_id: str, entropy: bytes) -> tuple[str, bytes] | None:
        place = next((index for index, fork in enumerate(self.watch.forks) if fork.pid == 0), None)
        try:
            if place is None:
                raise OSError(errno.EAGAIN, "too many forks")
            pid = os.fork()
        except OSError as error:
            self._say(f"failed {fork_id} {error.errno}\n")
            return None
        if pid == 0:
            self._set_up_child(fork_id)
            return fork_id, entropy
        self.watch.forks[place] = Watched(pid=pid)
        self._ids[place] = fork_id
        self._told_mib[place] = self.watch.fresh_mib
        if self._due is None:
            self._due = time.monotonic() + _FIRST_LOOK_S
        self._say(f"forked {fork_id} {pid}\nused {fork_id} {self.watch.fresh_mib}\n")
        return None

    def _set_up_child(self, fork_id: str) -> None:
        try:
            self.watch.own_surroundings()
            # Standard output first.
            for target in (1, 2):
                with _connect(f"{self._directory}/{fork_id}.log") as connection:
                    os.dup2(connection.fileno(), target)
        except OSError:
            os._exit(_NOT_SET_UP)

    def _reap(self) -> bool:
        reaped = False
        while ended := _next_ended():
            reaped = True
            pid, status = ended
            for fork, fork_id in zip(self.watch.forks, self._ids):
                if fork.pid == pid:
                    fork.pid = 0
                    self._say(f"ended {fork_id} {status} {fork.cause}\n")
        return reaped

    def _look(self) -> None:
        wait = self.watch.look()
        self._due = None if wait is None else time.monotonic() + wait
        for place, fork in enumerate(self.watch.forks):
            if fork.pid and fork.used_mib > self._told_mib[place]:
                self._told_mib[place] = fork.used_mib
                self._say(f"used {self._ids[place]} {fork.used_mib}\n")

    def _say(self, lines: str) -> None:
        self._channel.sendall(lines.encode())


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    return connection


def _next_ended() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None
