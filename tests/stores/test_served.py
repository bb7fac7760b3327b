"""Indexes that a process of ours shows, under overlayfs in a user namespace: the kernel's view of them."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from machine import served_in_userns
from treekit import tree_of
from treemaker import directory, file, hardlink, pack, symlink, white

from nacre.ground.mounts import detached
from nacre.stores.served import ShownIndex, serve
from nacre.stores.trees.files import WHOLE
from nacre.stores.trees.forms.indexed import IndexedForm
from nacre.words.mount import Erofs, Overlay

LONG, BIG = b"n" * 255, bytes(range(256)) * 8192
LOWER = [
    directory(b"d", mode=0o750), file(b"d/old"), file(b"d/kept", b"kept"), file(b"big", BIG),
    directory(b"hidden"), file(b"hidden/under"), symlink(b"link", b"../../etc"), file(LONG, b"long"),
    file(b"twice", b"2"), hardlink(b"again", b"twice"),
]  # fmt: skip
UPPER = [
    directory(b"d"),
    white(b"d/.wh.old"),
    directory(b"hidden"),
    white(b"hidden/.wh..wh..opq"),
    file(b"hidden/new"),
]


def lowers(tmp_path: Path) -> list[Erofs]:
    found = []
    for number, items in enumerate((UPPER, LOWER)):
        tree = tree_of(IndexedForm(), pack(items), tmp_path / str(number))
        (tmp_path / str(number) / "lazy").write_bytes(WHOLE)
        lower = tree.lower()
        assert isinstance(lower, Erofs)
        found.append(lower)
    return found


def shown(found: list[Erofs], look: Callable[[int], Any]) -> Any:
    mounts = serve([ShownIndex(index) for index in found])
    paths = tuple(f"/proc/self/fd/{fd}" for fd in mounts)
    fd = detached(Overlay(paths, userxattr=True))
    try:
        return look(fd)
    finally:
        for each in (fd, *mounts):
            os.close(each)


def text(fd: int, path: bytes) -> bytes:
    file = os.open(path, os.O_RDONLY, dir_fd=fd)
    try:
        return b"".join(iter(partial(os.read, file, 1 << 16), b""))
    finally:
        os.close(file)


def names(fd: int, path: str = ".") -> list[str]:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    try:
        return sorted(os.listdir(folder))
    finally:
        os.close(folder)


def view(fd: int) -> Any:
    link = os.stat("link", dir_fd=fd, follow_symlinks=False)
    twice = os.stat("twice", dir_fd=fd)
    return {
        "names": [names(fd), names(fd, "d"), names(fd, "hidden")],
        "texts": [text(fd, b"big") == BIG, text(fd, LONG), text(fd, b"d/kept")],
        "link": [os.readlink("link", dir_fd=fd), stat.S_ISLNK(link.st_mode), link.st_size],
        "twice": [twice.st_nlink, twice.st_uid, twice.st_ino == os.stat("again", dir_fd=fd).st_ino],
    }


def test_overlayfs_sees_layers_as_they_are(tmp_path: Path) -> None:
    layers = lowers(tmp_path)
    assert served_in_userns(lambda: shown(layers, view)) == {
        "names": [
            sorted(["again", "big", "d", "hidden", "link", LONG.decode(), "twice"]), ["kept"], ["new"]
        ],
        "texts": [True, b"long", b"kept"],
        "link": ["../../etc", True, 9],
        "twice": [2, 0, True],
    }  # fmt: skip


def serving() -> dict[int, int]:
    """The processes of this user namespace that have the device open, with their parents."""
    found, ours = {}, os.stat("/proc/self/ns/user")
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            devices = [fd for fd in (folder / "fd").iterdir() if os.readlink(fd) == "/dev/fuse"]
            if devices and os.path.samestat(os.stat(folder / "ns/user"), ours):
                words = (folder / "stat").read_text().rpartition(")")[2].split()
                found[int(folder.name)] = int(words[1])
    return found


def bereft(fd: int) -> tuple[bytes, int]:
    """What is read when the server has died, and the errno when its holder has, too."""
    (server,) = (pid for pid, parent in serving().items() if parent in serving())
    os.kill(server, signal.SIGKILL)
    first = text(fd, LONG)
    for pid in sorted(serving()):  # the holder was there first
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while serving():
        pass
    try:
        text(fd, b"big")
    except OSError as error:
        return first, error.errno or 0
    return first, 0


def test_another_server_takes_over_and_none_is_an_error(tmp_path: Path) -> None:
    layers = lowers(tmp_path)
    first, failure = served_in_userns(lambda: shown(layers, bereft))
    assert (first, failure) == (b"long", errno.ENOTCONN)
