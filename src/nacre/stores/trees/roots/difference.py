"""The difference of an active: entries on their way into a layer, with the owners kept beside it."""

from __future__ import annotations

import os

from ....grammars.layer.owner import given
from ....grammars.layer.whiteouts import is_whiteout
from ..forms.owners import RecordedOwner
from ..model import PLAIN_ROOT, TreeInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ....grammars.tar.entry import Entry
    from ....ground.scan import Opener
    from ..interfaces import Writer
    from ..model import ActiveTree, Times
    from .inherited import Owners

_NANO = 1_000_000_000


class DifferencePacker:
    """One difference on its way into a tar."""

    def __init__(self, fd: int, active: ActiveTree, writer: Writer, times: Times, known: Owners) -> None:
        """The files are at `fd`."""
        self.fd, self.root, self.writer, self.known = fd, active.root, writer, known
        self.clamp = None if times.clamp is None else times.clamp * _NANO
        self.set_times = times.on_files
        self.kept: dict[bytes, RecordedOwner] = {}
        self.made_root = ""
        self.size = 0

    def run(self, found: Iterable[tuple[Entry, Opener | None]]) -> TreeInfo:
        """Write them all, and the end."""
        for entry, payload in found:
            entry = self._with_layer_time(self._restored(entry))
            if entry.path or self._root_differs(entry):
                self.size += entry.size
                self.writer.add(entry, payload() if payload else None)
        self.writer.close()
        return TreeInfo(self.size, self.made_root)

    def _restored(self, entry: Entry) -> Entry:
        if is_whiteout(entry.path):
            return entry
        found = self._given(entry)
        owner = self.known.get(entry.path)
        if owner:
            self.kept[entry.path] = owner.replace(uid=found.uid, gid=found.gid)
        elif (entry.uid, entry.gid) != (found.uid, found.gid):
            self.kept[entry.path] = RecordedOwner(found.uid, found.gid)
        return found

    def _given(self, entry: Entry) -> Entry:
        """A further name of a file has the owner of the first, whose attributes alone are read."""
        first = self.kept.get(entry.link) if entry.kind == "hardlink" else None
        return entry._replace(uid=first.uid, gid=first.gid) if first else restored(entry, self.known)

    def _with_layer_time(self, entry: Entry) -> Entry:
        """The time that goes into the tar, and onto a file of the tree, so that it equals its tar."""
        if is_whiteout(entry.path):
            return entry._replace(mtime_ns=0)
        time = entry.mtime_ns // _NANO * _NANO
        time = time if self.clamp is None else min(time, self.clamp)
        if self.set_times and time != entry.mtime_ns and entry.kind != "hardlink":
            os.utime(entry.path or b".", ns=(time, time), dir_fd=self.fd, follow_symlinks=False)
        return entry._replace(mtime_ns=time)

    def _root_differs(self, entry: Entry) -> bool:
        """A root of the same mode and owner as beneath is no change; its time always moves."""
        mine = f"{entry.mode:o} {entry.uid} {entry.gid}"
        if mine == (self.root or PLAIN_ROOT) and not entry.xattrs:
            return False
        self.made_root = mine
        return True


def restored(entry: Entry, known: Owners) -> Entry:
    """With the owner that was kept beside it, or that it was given since."""
    owner = None if is_whiteout(entry.path) else known.get(entry.path)
    return given(_with_owner(entry, owner) if owner else entry)


def _with_owner(entry: Entry, owner: RecordedOwner) -> Entry:
    if not owner.kind or (entry.kind == "file" and entry.size == 0):
        kind = owner.kind or entry.kind
        entry = entry._replace(kind=kind, major=owner.major or entry.major, minor=owner.minor or entry.minor)
    return entry._replace(uid=owner.uid, gid=owner.gid, xattrs=_union(entry.xattrs, owner.xattrs))


def _union(
    first: tuple[tuple[bytes, bytes], ...], second: tuple[tuple[bytes, bytes], ...]
) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(sorted((dict(second) | dict(first)).items()))
