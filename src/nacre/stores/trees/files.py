"""The names of the files beside a tree. On the way of `nacre run`: imports nothing of nacre.

fs             the layer unpacked (forms/folder.py), with
skeleton       how to make its tar again
owners         only where owners, devices or attributes could not be kept
marks          only where whiteouts are marked as a user namespace does, by the driver that mounts nothing

layer.tar      the layer as it came (forms/indexed.py), with
index.erofs    the metadata that points into it
sparse         contents of sparse files
cuts, lent-00  what is left out of it because the store has it elsewhere, and links to where (dedup)

lazy           only while contents of the tar are still missing (lazy.py): how far it is
ask            the socket by which it is asked for, where the kernel tells of no reads (ground.asking)
reads          what was read of the layers of an image that came lazily, in that of the topmost: a profile

opaque         only where the layer hides everything beneath it
implied        only where the layer needs folders that it does not describe
"""

from __future__ import annotations

import fcntl
import os
from errno import ENOENT

FS, SKELETON, OWNERS, MARKS, OPAQUE, IMPLIED = "fs", "skeleton", "owners", "marks", "opaque", "implied"
TAR, INDEX, SPARSE, CUTS, LENT = "layer.tar", "index.erofs", "sparse", "cuts", "lent-"
LAZY, NOTE, READS = "lazy", 200, "reads"
WHOLE = b"whole"
"""In `lazy` of a tree that was proven, for whoever has that file open still."""


def lent(number: int) -> str:
    """The name of the link to a donor's tar in the borrower's folder, counted from 0."""
    return f"{LENT}{number:02}"


def lender(name: str) -> int:
    """The number by which cuts call the donor behind such a link, counted from 1; 0 if it is none.

    Taken from the name, never from its place among others: links move to another folder one by one.
    """
    digits = name.removeprefix(LENT)
    return int(digits) + 1 if digits != name and digits.isdigit() else 0


def is_ours(name: str) -> bool:
    """Is this one of them?"""
    return name in (TAR, INDEX, SPARSE, CUTS) or name.startswith(LENT)


def device_paths(folder: str, names: list[str] | None = None) -> tuple[str, ...]:
    """The files that the index in a folder points into, in the order of its devices; `names` are in it.

    Raises OSError.
    """
    names = os.listdir(folder) if names is None else names
    sparse = (name for name in names if name == SPARSE)
    return tuple(f"{folder}/{name}" for name in (TAR, *sparse, *lenders(names)))


def lenders(names: list[str]) -> list[str]:
    """The links to donors among the names in a folder, in their order."""
    return sorted(name for name in names if name.startswith(LENT))


def missing(folder: str) -> tuple[int, int, str] | None:
    """Of a lazy tree the bytes that are here, of how many, and what keeps the rest from coming; else None."""
    try:
        with open(f"{folder}/{LAZY}", encoding="utf-8", errors="replace") as file:
            here, total, trouble = (*file.read(NOTE).strip().split(" ", 2), "", "", "")[:3]
        return int(here or 0), int(total or 0), trouble
    except (OSError, ValueError):
        return None


def open_locked(path: str) -> int:
    """Open a tar for reading; while it is open, nothing that a tree needs is punched out of it.

    Looks again once it has the lock: a tree that was swept meanwhile may have lost what it borrowed. Where
    there are no locks nothing is punched either. Raises OSError, FileNotFoundError for what has moved.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _lock_shared(fd)
        if not os.path.samestat(os.stat(path), os.fstat(fd)):
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _lock_shared(fd: int) -> bool:
    """Whether there are locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    except OSError:
        return False
    return True
