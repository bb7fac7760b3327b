"""What programs in a container do with users and owners, for tests: `givers.py NAME` prints JSON.

Runs with any Python in any container, so it imports the standard library alone.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
FCHOWNAT, SETGROUPS, GETRESUID = 260, 116, 118
BAD = (0, 8, (1 << 47) - 4096, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
ROUNDS = 150


def call(number: int, *words: int) -> int:
    """0 or an errno."""
    result = LIBC.syscall(number, *(ctypes.c_ulong(word) for word in words))
    return ctypes.get_errno() if result == -1 else 0


def error_of(work: Callable[[], object]) -> str:
    try:
        work()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def in_a_child(work: Callable[[], Any]) -> Any:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, json.dumps(work()).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    return json.loads(data)


def who() -> list[Any]:
    return [os.getresuid(), os.getresgid(), os.getgroups()]


def becoming() -> dict[str, Any]:
    """Give privileges up as daemons do; a child, a thread, a program and an orphan are the same user."""

    def drop() -> dict[str, Any]:
        os.setgroups([7, 8])
        os.setresgid(34, 34, 34)
        os.setresuid(33, 33, 33)
        found: dict[str, Any] = {"self": who(), "child": in_a_child(who)}
        threads: list[Any] = []
        thread = threading.Thread(target=lambda: threads.append(who()))
        thread.start()
        thread.join()
        script = "import os; print([os.getresuid(), os.getresgid(), os.getgroups()])"
        found["thread"] = threads[0]
        read, write = os.pipe()
        if not os.fork():
            os.dup2(write, 1)
            os.execv(sys.executable, [sys.executable, "-S", "-c", script])
        os.wait()
        found["program"] = os.read(read, 999).decode().strip()
        found["regain"] = error_of(lambda: os.setuid(0))
        found["groups"] = error_of(lambda: os.setgroups([]))
        open("/tmp/mine", "w").close()
        found["gives"] = [
            error_of(partial(os.chown, "/tmp/mine", *each)) for each in ((33, 8), (33, 9), (0, 0))
        ]
        return found

    return {"dropped": in_a_child(drop), "parent": who()}


def giving() -> dict[str, Any]:
    """By every call; what cannot be is refused as the kernel refuses it."""
    os.makedirs("/srv/d/e")
    os.symlink("../named", "/srv/d/link")
    for name in ("named", "opened", "d/near", "cleared", "d/e/up", "kept"):
        open(f"/srv/{name}", "w").close()
    os.chmod("/srv/cleared", 0o4755)
    os.chown("/srv/named", 1, 2)
    os.chown("/srv/d/link", 3, -1)
    with open("/srv/opened") as file:
        os.fchown(file.fileno(), 4, 5)
    fd = os.open("/srv/d", os.O_PATH)
    os.chown("near", 6, 7, dir_fd=fd)
    os.chdir("/srv/d")
    os.chown("e/../../d/e/up", -1, 8)
    os.chown("/srv/cleared", 0, 9)
    os.chown("/srv/d", 4294967294, 0)
    with open("/srv/kept") as file:
        os.fchown(file.fileno(), 0, 0)
    return {
        "cleared": oct(os.stat("/srv/cleared").st_mode),
        "none": error_of(lambda: os.chown("/srv/none", 1, 1)),
        "under": error_of(lambda: os.chown("/srv/named/x", 1, 1)),
        "proc": error_of(lambda: os.chown("/proc/1/root/srv/named", 1, 1)),
        "stdout": error_of(lambda: os.chown("/dev/stdout", 1, 1)),
        "volume": error_of(lambda: os.chown("/volume/file", 1, 1)),
        "readonly": error_of(lambda: os.chown("/readonly/file", 1, 1)),
    }


def pointing() -> dict[str, Any]:
    """Addresses that are none, flags and numbers that nobody knows."""
    path = ctypes.create_string_buffer(b"/etc/passwd")
    long = ctypes.create_string_buffer(b"/x" * 3000)
    at, cwd = ctypes.addressof(path), (1 << 64) - 100
    return {
        "chown": sorted({call(FCHOWNAT, cwd, bad, 1, 1, 0) for bad in BAD}),
        "setgroups": sorted({call(SETGROUPS, 3, bad) for bad in BAD}),
        "many": [call(SETGROUPS, count, at) for count in (65537, 1 << 31, (1 << 32) - 1)],
        "flags": [call(FCHOWNAT, cwd, at, 1, 1, flags) for flags in (1, 0x200, 1 << 30)],
        "descriptor": call(FCHOWNAT, 999, ctypes.addressof(path) + 1, 1, 1, 0),
        "long": call(FCHOWNAT, cwd, ctypes.addressof(long), 1, 1, 0),
        "told": in_a_child(told_to_nobody),
    }


def told_to_nobody() -> list[int]:
    os.setresuid(5, 5, 5)
    return sorted({call(GETRESUID, bad, bad, bad) for bad in BAD})


def racing() -> dict[str, Any]:
    """A link that leads to the volume and back while files are given away, from several threads."""
    open("/srv/own", "w").close()
    os.symlink("/srv/own", "/srv/first")
    os.symlink("/volume/file", "/srv/second")
    os.symlink("/srv/own", "/srv/raced")
    stop = threading.Event()
    name = ctypes.create_string_buffer(b"/srv/raced\0\0\0\0")
    other = b"/volume/file\0", b"/srv/raced\0\0\0"

    def swap() -> None:
        turn = 0
        while not stop.is_set():
            os.symlink(("/volume/file", "/srv/own")[turn], "/srv/next")
            os.rename("/srv/next", "/srv/raced")
            ctypes.memmove(name, other[turn], 13)
            turn = 1 - turn

    def flood() -> None:
        for number in range(ROUNDS):
            os.setfsuid(number) if hasattr(os, "setfsuid") else os.getresuid()

    threads = [threading.Thread(target=work) for work in (swap, flood, flood, flood)]
    for thread in threads:
        thread.start()
    found = {call(FCHOWNAT, (1 << 64) - 100, ctypes.addressof(name), 7, 7, 0) for _ in range(ROUNDS)}
    stop.set()
    for thread in threads:
        thread.join()
    return {"found": sorted(found)}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
