"""Tries what it is told to reach, and answers whoever reaches it.

A function's handler, and a program of the host or of a namespace: `python3 reach_probe.py < event.json`. What comes of an attempt is
`answered`, `refused` (it arrived, and nobody is there), `silent`, or the error's name.
"""
import errno
import json
import os
import socket
import struct
import sys
import threading
import time

AGAIN_S = 0.3
ECHO_REPLIES = (0, 129)
serving = {}


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bound(kind, cell, protocol=0):
    one = socket.socket(family_of(cell["to"]), kind, protocol)
    if cell.get("source"):
        one.bind((cell["source"], 0))
    return one


def tcp(cell, until):
    with bound(socket.SOCK_STREAM, cell) as one:
        one.settimeout(max(0.05, until - time.monotonic()))
        one.connect((cell["to"], cell["port"]))
        # A server that only listens has been reached too.
        try:
            one.settimeout(1)
            one.sendall(b"hello")
            one.recv(64)
        except OSError:
            pass
        return "answered"


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(address, token):
    kind = 128 if ":" in address else 8
    blank = struct.pack("!BBHHH", kind, 0, 0, os.getpid() & 0xFFFF, 1) + token
    return blank[:2] + struct.pack("!H", checksum(blank)) + blank[4:]


def icmp_socket(cell):
    protocol = socket.IPPROTO_ICMPV6 if ":" in cell["to"] else socket.IPPROTO_ICMP
    try:
        return bound(socket.SOCK_DGRAM, cell, protocol), 0
    except PermissionError:
        # The host's own user may send them raw; what it gets has the IPv4 header before it.
        return bound(socket.SOCK_RAW, cell, protocol), 0 if ":" in cell["to"] else 20


def is_reply(data, skip, token):
    return len(data) > skip and data[skip] in ECHO_REPLIES and token in data


def ask(one, until, question, good):
    while time.monotonic() < until:
        try:
            one.send(question)
        except OSError as error:
            # The host's own stack is told what its filter drops.
            if error.errno != errno.ENOBUFS:
                raise
        again = min(until, time.monotonic() + AGAIN_S)
        while time.monotonic() < again:
            one.settimeout(max(0.01, again - time.monotonic()))
            try:
                if good(one.recv(2048)):
                    return "answered"
            except TimeoutError:
                break
    return "silent"


def udp(cell, until):
    token = os.urandom(8).hex().encode()
    with bound(socket.SOCK_DGRAM, cell) as one:
        one.connect((cell["to"], cell["port"]))
        return ask(one, until, token, lambda data: token in data)


def icmp(cell, until):
    token = os.urandom(16)
    one, skip = icmp_socket(cell)
    with one:
        one.connect((cell["to"], 0))
        return ask(one, until, echo_request(cell["to"], token), lambda data: is_reply(data, skip, token))


def attempt(cell, until):
    try:
        return {"tcp": tcp, "udp": udp, "icmp": icmp}[cell["protocol"]](cell, until)
    except TimeoutError:
        return "silent"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return "silent" if error.errno == errno.ETIMEDOUT else errno.errorcode.get(error.errno, str(error))


def answer_streams(server):
    while True:
        one, _ = server.accept()
        threading.Thread(target=answer_stream, args=(one,), daemon=True).start()


def answer_stream(one):
    try:
        with one:
            while data := one.recv(2048):
                one.sendall(data)
    except OSError:
        pass


def answer_datagrams(server):
    while True:
        data, peer = server.recvfrom(2048)
        try:
            server.sendto(data, peer)
        except OSError:
            pass


def serve(port, addresses):
    if port in serving:
        return
    serving[port] = True
    for address in addresses:
        family = family_of(address)
        for kind, answer in ((socket.SOCK_STREAM, answer_streams), (socket.SOCK_DGRAM, answer_datagrams)):
            server = socket.socket(family, kind)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            server.bind((address, port))
            if kind == socket.SOCK_STREAM:
                server.listen(64)
            threading.Thread(target=answer, args=(server,), daemon=True).start()


def own_addresses(towards):
    found = []
    for address in towards:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as one:
            try:
                one.connect((address, 1))
                found.append(one.getsockname()[0])
            except OSError:
                pass
    return found


def keep_saying(flow, until, every):
    """When the last answer came, as the clock of all has it: milliseconds. 0: none ever did. And what ended it before its time."""
    last, ended = 0, ""
    # The same in all questions: on a busy machine an answer may come after the next one was asked.
    token = os.urandom(16)
    try:
        one, skip = icmp_socket(flow) if flow["protocol"] == "icmp" else (
            bound(socket.SOCK_STREAM if flow["protocol"] == "tcp" else socket.SOCK_DGRAM, flow), 0)
        with one:
            one.settimeout(2)
            one.connect((flow["to"], flow.get("port", 0)))
            one.settimeout(every)
            while time.monotonic() < until:
                began = time.monotonic()
                try:
                    one.send(echo_request(flow["to"], token) if flow["protocol"] == "icmp" else token.hex().encode())
                    data = one.recv(2048)
                    if data if flow["protocol"] != "icmp" else is_reply(data, skip, token):
                        last = time.time() * 1000
                    # Late ones are not taken for answers to what is asked next.
                    while one.recv(2048, socket.MSG_DONTWAIT):
                        pass
                except (TimeoutError, BlockingIOError):
                    pass
                time.sleep(max(0, every - (time.monotonic() - began)))
    except OSError as error:
        ended = str(error)
    return {"at": last, "ended": ended}


def wait_for(cell):
    """Says something, and then waits for what the other side begins to say later."""
    with socket.socket(family_of(cell["to"]), socket.SOCK_DGRAM) as one:
        one.bind(("", cell["local"]))
        one.settimeout(cell["ms"] / 1000)
        try:
            one.sendto(b"here", (cell["to"], cell["port"]))
            return one.recv(2048).decode()
        except TimeoutError:
            return "silent"


def say(cell):
    with socket.socket(family_of(cell["to"]), socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((cell["source"], cell["local"]))
        one.sendto(cell["text"].encode(), (cell["to"], cell["port"]))


def flood(cell):
    """Datagrams as fast as they go, but never more than `bytesPerSecond`."""
    # Whole on every link: of one that is cut, all pieces would have to pass.
    data = bytes(1000)
    began, sent = time.monotonic(), 0
    with socket.socket(family_of(cell["to"]), socket.SOCK_DGRAM) as one:
        one.connect((cell["to"], cell["port"]))
        while (passed := time.monotonic() - began) < cell["ms"] / 1000:
            if sent > cell["bytesPerSecond"] * passed:
                time.sleep(0.001)
                continue
            try:
                sent += one.send(data)
            except OSError:
                sent += len(data)
    return sent


def count_bytes(cell):
    """Of the datagrams that arrive on a port, from the first on for so long."""
    total, until = 0, None
    with socket.socket(family_of(cell["on"]), socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.bind((cell["on"], cell["port"]))
        one.settimeout(cell["patienceMs"] / 1000)
        try:
            while until is None or time.monotonic() < until:
                total += len(one.recv(2048))
                if until is None:
                    until = time.monotonic() + cell["ms"] / 1000
                one.settimeout(max(0.01, until - time.monotonic()))
        except TimeoutError:
            pass
    return total


OTHERS = {"waits": wait_for, "says": say, "floods": flood, "counts": count_bytes}


def all_at_once(work, cells):
    results = [None] * len(cells)

    def one(at):
        results[at] = work(cells[at])

    threads = [threading.Thread(target=one, args=(at,)) for at in range(len(cells))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def handler(event, _context=None):
    if event.get("serve"):
        # A datagram's answer must come from the address that was asked.
        serve(event["serve"], event.get("on", ["0.0.0.0", "::"]))
    now = time.monotonic()
    until = now + event.get("ms", 2500) / 1000
    outcomes = all_at_once(lambda cell: attempt(cell, until), event.get("cells", []))
    flows = event.get("flows", [])
    streamed = all_at_once(lambda flow: keep_saying(flow, now + event["streamMs"] / 1000, 0.05), flows)
    others = {name: all_at_once(work, event[name]) for name, work in OTHERS.items() if name in event}
    time.sleep(max(0, now + event.get("stayMs", 0) / 1000 - time.monotonic()))
    addresses = own_addresses(event.get("towards", []))
    return {"outcomes": outcomes, "lastAnswers": streamed, "addresses": addresses, **others}


if __name__ == "__main__":
    print(json.dumps(handler(json.load(sys.stdin))))
