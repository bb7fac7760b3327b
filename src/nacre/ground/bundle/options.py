"""What options do to mounts. Source: OCI runtime-spec config.md, "mounts"."""

from __future__ import annotations

from ...words.errors import UsageError
from ...words.value import Value
from .. import linux
from ..sandbox import binds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ATIME = 0x70  # MOUNT_ATTR__ATIME
_NODIRATIME, _NOSYMFOLLOW = 0x80, 0x200000
_MANDLOCK, _SILENT, _VERSION, _LAZY, _ACL = 0x40, 0x8000, 1 << 23, 1 << 25, 1 << 16
_SET = {
    "ro": linux.MOUNT_ATTR_RDONLY, "nosuid": linux.MOUNT_ATTR_NOSUID, "nodev": linux.MOUNT_ATTR_NODEV,
    "noexec": linux.MOUNT_ATTR_NOEXEC, "nodiratime": _NODIRATIME, "nosymfollow": _NOSYMFOLLOW,
}  # fmt: skip
_CLEARED = {
    "rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "diratime": "nodiratime",
    "symfollow": "nosymfollow",
}  # fmt: skip
_TIMES = {
    "relatime": 0, "noatime": 0x10, "strictatime": 0x20, "atime": 0, "norelatime": 0, "nostrictatime": 0,
}  # fmt: skip
_SUPERBLOCK = {
    "sync": linux.MS_SYNCHRONOUS, "async": 0, "dirsync": linux.MS_DIRSYNC, "mand": _MANDLOCK, "nomand": 0,
    "silent": _SILENT, "loud": 0, "iversion": _VERSION, "noiversion": 0, "lazytime": _LAZY, "nolazytime": 0,
    "acl": _ACL, "noacl": 0, "defaults": 0,
}  # fmt: skip
PROPAGATION = {
    **binds.PROPAGATION, "unbindable": linux.MS_UNBINDABLE, "runbindable": linux.MS_REC | linux.MS_UNBINDABLE,
}  # fmt: skip
"""Flags by the words of the runtime-spec; with an r before them, of everything beneath as well."""

_REFUSED = ("remount", "idmap", "ridmap")
NAMES = tuple(sorted({
    *_SET, *_CLEARED, *_TIMES, *_SUPERBLOCK, "bind", "rbind", "tmpcopyup",
    *(f"r{name}" for name in (*_SET, *_CLEARED, *_TIMES)), *PROPAGATION,
}))  # fmt: skip
"""All that are known."""


class Options(Value):
    """Of one mount: MOUNT_ATTR_* that it gets and loses, the same with all beneath it, and the rest."""

    add: int = 0
    remove: int = 0
    deep_add: int = 0
    deep_remove: int = 0
    flags: int = 0
    propagation: tuple[int, ...] = ()
    data: str = ""
    binds: bool = False
    recursive: bool = False
    copies: bool = False

    @property
    def mount_flags(self) -> int:
        """For mount(2), whose numbers are others."""
        found = self.flags
        for attribute, flag in _OF_MOUNT:
            found |= flag if self.add & attribute else 0
        return found


_OF_MOUNT = (
    (linux.MOUNT_ATTR_RDONLY, linux.MS_RDONLY), (linux.MOUNT_ATTR_NOSUID, linux.MS_NOSUID),
    (linux.MOUNT_ATTR_NODEV, linux.MS_NODEV), (linux.MOUNT_ATTR_NOEXEC, linux.MS_NOEXEC),
    (0x10, linux.MS_NOATIME), (0x20, linux.MS_STRICTATIME), (_NODIRATIME, linux.MS_NODIRATIME),
    (_NOSYMFOLLOW, 256),
)  # fmt: skip


def read_options(words: Sequence[str], place: str) -> Options:
    """The options of the mount at `place` of the config; a later one counts more. Raises UsageError."""
    own, deep, data, propagation = [0, 0], [0, 0], [], []
    flags = 0
    for word in words:
        base = word.removeprefix("r")
        if word in _REFUSED:
            raise UsageError(f"config.json: {place}.options: {word} is not supported")
        if _changed(own, word) or word in ("bind", "rbind", "tmpcopyup", ""):
            continue
        if word in _SUPERBLOCK:
            flags |= _SUPERBLOCK[word]
        elif word in PROPAGATION:
            propagation.append(PROPAGATION[word])
        elif base == word or not _changed(deep, base):
            data.append(word)
    return Options(
        own[0], own[1], deep[0], deep[1], flags, tuple(propagation), ",".join(data),
        "bind" in words or "rbind" in words, "rbind" in words, "tmpcopyup" in words,
    )  # fmt: skip


def _changed(attributes: list[int], word: str) -> bool:
    """What a word adds and removes; False if it is none of these."""
    add = _SET.get(word, 0) | _TIMES.get(word, 0)
    remove = _ATIME if word in _TIMES else _SET.get(_CLEARED.get(word, ""), 0)
    attributes[0] = attributes[0] & ~remove | add
    attributes[1] = attributes[1] & ~(0 if word in _TIMES else add) | remove
    return word in _SET or word in _CLEARED or word in _TIMES
