"""Tells for each interface that comes up which tc filters it had by then: one socket of the kernel's, so in the order in which it happened.

`python3 link_watch.py PREFIX`: `ready`, then a line of JSON an interface, `{"name": ..., "filters": ["ingress", "egress"]}`.
"""
import json
import socket
import struct
import sys

LINKS, TC = 1, 8
NEW_LINK, NEW_FILTER = 16, 44
UP = 1
NAME = 3
PARENTS = {0xFFFFFFF2: "ingress", 0xFFFFFFF3: "egress"}

watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
watch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
watch.bind((0, LINKS | TC))
print("ready", flush=True)
filters, told = {}, set()


def name_of(attributes):
    at = 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if kind == NAME:
            return attributes[at + 4 : at + length].rstrip(b"\0").decode()
        at += max(4, (length + 3) & ~3)
    return ""


while True:
    data = watch.recv(1 << 20)
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        body = data[at + 16 : at + length]
        at += max(16, (length + 3) & ~3)
        if kind == NEW_FILTER:
            index, _handle, parent = struct.unpack_from("=iII", body, 4)
            filters.setdefault(index, set()).add(PARENTS.get(parent, hex(parent)))
        if kind == NEW_LINK:
            index, flags = struct.unpack_from("=iI", body, 4)
            name = name_of(body[16:])
            if name.startswith(sys.argv[1]) and flags & UP and index not in told:
                told.add(index)
                print(json.dumps({"name": name, "filters": sorted(filters.get(index, set()))}), flush=True)
