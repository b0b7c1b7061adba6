"""Tries everything that is known to lead out of a container, and tells what came of it.

A function's handler, as its own user or as root of a user namespace that it makes for itself; and a program for the host, where the same
attempts must succeed: `python3 probe.py < event.json`. Harmless there: what would touch the machine itself is left out.
"""
import ctypes
import errno
import json
import os
import socket
import stat
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWPID = 0x20000, 0x10000000, 0x40000000, 0x20000000
MS_RDONLY, MS_BIND, MS_REC, MS_REMOUNT = 1, 4096, 16384, 32


def call(result):
    if result >= 0:
        return result
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def syscall(number, *args):
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return call(libc.syscall(ctypes.c_long(number), *wide))


def mount(source, target, kind, flags=0, data=None):
    os.makedirs(target, exist_ok=True)
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    call(libc.mount(*encoded, ctypes.c_ulong(flags), None if data is None else data.encode()))
    return "mounted"


def become_root():
    uid, gid = os.getuid(), os.getgid()
    call(libc.unshare(CLONE_NEWUSER))
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    os.setuid(0)


def scratch(name):
    return f"/tmp/probe-{os.getpid()}-{name}"


def read(path, most=1 << 20):
    with open(path, "rb") as file:
        return file.read(most)


def by_handle(handle):
    """A file by its number, past every directory: the handle was taken on the host."""
    kind, text = handle
    body = bytes.fromhex(text)
    raw = struct.pack("Ii", len(body), kind) + body
    problem = None
    for at in ("/", "/tmp", "/run/forkyard", "/proc", "/var/task"):
        try:
            base = os.open(at, os.O_RDONLY)
            file = syscall(304, base, ctypes.create_string_buffer(raw), os.O_RDONLY)
            return os.read(file, 1 << 16)
        except OSError as error:
            problem = error
    raise problem


def raw_socket(family, kind, protocol):
    socket.socket(family, kind, protocol).close()
    return "opened"


def bpf_map():
    # BPF_MAP_CREATE of an array: key 4, value 4, one entry.
    os.close(syscall(321, 0, ctypes.create_string_buffer(struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(100)), 120))
    return "made"


def kernel_log():
    text = ctypes.create_string_buffer(4096)
    size = syscall(103, 3, text, 4096)
    return text.raw[:size]


def trace_parent():
    """Of the first process of this process namespace, if it is not this one."""
    call(libc.ptrace(16, 1, None, None))
    libc.ptrace(17, 1, None, None)
    return "attached"


def device(kind, major, minor):
    path = scratch(f"{major}-{minor}")
    os.mknod(path, 0o600 | kind, os.makedev(major, minor))
    try:
        os.close(os.open(path, os.O_RDONLY))
    finally:
        os.unlink(path)
    return "opened"


def process_root(pid, paths):
    return b"".join(read(f"/proc/{pid}/root{path}") for path in paths)


def own_root(paths):
    """What a mount of the root would show, and a root left by the classic way."""
    found = b""
    base = scratch("root")
    mount("/", base, None, MS_BIND | MS_REC)
    for path in paths:
        found += read(base + path)
    return found


def chroot_out(paths):
    here = os.open("/", os.O_RDONLY)
    os.makedirs(scratch("jail"), exist_ok=True)
    os.chroot(scratch("jail"))
    os.fchdir(here)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return b"".join(read(path) for path in paths)


def environments():
    found = b""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline"):
            try:
                found += read(f"/proc/{pid}/{name}")
            except OSError:
                pass
    return found


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        sock.connect(address)
        return sock.recv(1 << 16)


def setuid_files():
    """Programs that would make somebody else of their caller."""
    found = []
    for base in ("/bin", "/sbin", "/usr", "/opt", "/var"):
        for at, _dirs, names in os.walk(base):
            for name in names:
                path = os.path.join(at, name)
                if os.lstat(path).st_mode & (stat.S_ISUID | stat.S_ISGID) and os.path.isfile(path):
                    found.append(path)
    if not found:
        raise FileNotFoundError(errno.ENOENT, "none")
    return found


def write(path):
    with open(path, "ab") as file:
        file.write(b"x")
    return "written"


def set_uid():
    if os.getuid() == 0:
        return "root already"
    os.setuid(0)
    return "root"


def remount(path):
    call(libc.mount(None, path.encode(), None, ctypes.c_ulong(MS_REMOUNT | MS_BIND), None))
    return write(os.path.join(path, "probe"))


def attempts(event):
    paths = event["paths"]
    families = {
        "mount": {
            "proc": lambda: mount("proc", scratch("proc"), "proc"),
            "root": lambda: own_root(paths),
            "chroot": lambda: chroot_out(paths),
        },
        "first process": {
            "root": lambda: process_root(event.get("pid", 1), paths),
            "environ": environments,
            "ptrace": trace_parent,
        },
        "handle": {"host file": lambda: by_handle(event["handle"])},
        "kernel": {
            "bpf": bpf_map,
            "perf": lambda: syscall(298, ctypes.create_string_buffer(struct.pack("IIQ", 1, 112, 0) + bytes(96)), 0, -1, -1, 0),
            "log": kernel_log,
        },
        "raw socket": {
            "packet": lambda: raw_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)),
            "icmp": lambda: raw_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        },
        "device": {
            "memory": lambda: device(stat.S_IFCHR, 1, 1),
            "kernel log": lambda: device(stat.S_IFCHR, 1, 11),
        },
        "host socket": {
            "abstract": lambda: connect(socket.AF_UNIX, "\0" + event["abstract"]),
            "tcp": lambda: connect(socket.AF_INET, ("127.0.0.1", event["port"])),
            "path": lambda: connect(socket.AF_UNIX, event["socket"]),
        },
        "identity": {"setuid": set_uid, "setuid programs": setuid_files},
        "write": {path: (lambda path=path: write(path)) for path in event["writable"]},
    }
    if not event.get("host"):
        # Never tried where they would work.
        families["machine"] = {
            "module": lambda: syscall(175, ctypes.create_string_buffer(64), 64, ctypes.create_string_buffer(1)),
            "kexec": lambda: syscall(246, 0, 0, 0, 0),
            "reboot": lambda: syscall(169, 0xFEE1DEAD, 0x28121969, 0, 0),
            "clock": lambda: syscall(227, 0, ctypes.create_string_buffer(struct.pack("qq", 1, 0))),
            "ports": lambda: syscall(172, 3),
            "swap": lambda: syscall(167, ctypes.create_string_buffer(b"/tmp/swap\0"), 0),
            "core pattern": lambda: write("/proc/sys/kernel/core_pattern"),
            "trigger": lambda: write("/proc/sysrq-trigger"),
        }
        families["read only"] = {path: (lambda path=path: remount(path)) for path in ("/var/task", "/usr", "/run/forkyard")}
    return families


def outcome(attempt, words):
    try:
        result = attempt()
    except OSError as error:
        return {"refused": errno.errorcode.get(error.errno, str(error))}
    shown = result if isinstance(result, bytes) else json.dumps(result).encode()
    seen = [word for word in words if word.encode() in shown]
    return {"allowed": shown[:80].decode("utf8", "replace"), "seen": seen}


def in_child(work):
    """What one attempt changes is gone for the next."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(out)
            with os.fdopen(into, "w") as file:
                json.dump(work(), file)
            status = 0
        finally:
            os._exit(status)
    os.close(into)
    with os.fdopen(out) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else {"died": True}


def prepare(event):
    if event.get("root"):
        become_root()
    if event.get("root") or event.get("host"):
        call(libc.unshare(CLONE_NEWNS))
        # Nothing that is mounted from here on reaches anybody else.
        call(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | (1 << 18)), None))


def handler(event, _context=None):
    def prepared(attempt):
        try:
            prepare(event)
        except OSError as error:
            return {"unprepared": errno.errorcode.get(error.errno, str(error))}
        return outcome(attempt, event["words"])

    return {
        "uid": os.getuid(),
        "report": {
            family: {name: in_child(lambda attempt=attempt: prepared(attempt)) for name, attempt in tried.items()}
            for family, tried in attempts(event).items()
        },
    }


if __name__ == "__main__":
    print(json.dumps(handler(json.load(sys.stdin))))
