"""What programs ask about users and owners, answered where only one id exists.

    setgroups, setuid …   granted by the rules of the kernel and remembered; nothing is changed
    getuid, getgroups …   what was remembered; without that the kernel answers
    chown, fchownat …     the file stays ours; whose it would be is an attribute of it, which a layer
                          is made with (`grammars.layer.owner`)

This is no boundary: the program has its own rights before and after. So it can be answered wrongly only about
itself, and what it does to a file through us it may do by itself. A file is found beneath the caller's root
and changed by its descriptor; all that is read about a thread counts only if its call waits still. What
cannot be found, and what comes from a further user namespace, the kernel decides.
"""

from __future__ import annotations

import os
import stat
from errno import EFAULT, EINVAL, EPERM
from struct import Struct
from struct import error as StructError

from ...grammars.layer import owner
from .. import linux, userns
from . import calls
from .credentials import ROOT, UNCHANGED
from .paths import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, ProcessMemory, ProcessRoot
from .table import CredentialsTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..network.notifier import Notification, Notifier
    from .credentials import Ids, ProcessIds

_WORD = 0xFFFFFFFF
_MOST_GROUPS = 65536
_ID = Struct("=I")
_KEPT_KINDS = (stat.S_IFREG, stat.S_IFDIR)
_FLAGS = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW


class Ownership:
    """For all programs of a container whose calls come to us."""

    def __init__(self) -> None:
        self._names = {
            (arch, number): name
            for arch, half in calls.numbers(linux.MACHINE).items()
            for number, name in half.items()
        }
        self._table = CredentialsTable()

    def take(self, listener: Notifier, note: Notification) -> bool:
        """Answer a call; False for one about something else."""
        name = self._names.get(note.origin)
        if name is None:
            return False
        try:
            value = self._value(name, listener, note)
        except (OSError, OverflowError, ValueError, StructError):
            value = None
        if value is None:
            listener.let(note)
        else:
            listener.answer(note, value)
        return True

    def _value(self, name: str, listener: Notifier, note: Notification) -> int | None:
        """What the call returns; None where the kernel is to decide. Raises OSError for that, too."""
        if name in calls.GET:
            known = self._table.of(note.tid)
            return self._told(name, known, listener, note) if known else None
        if _is_apart(note.tid):
            return None
        if name == "setgroups":
            return self._join(listener, note)
        if name in calls.SET:
            return self._become(name, listener, note)
        return self._give(name, listener, note)

    def _told(self, name: str, known: ProcessIds, listener: Notifier, note: Notification) -> int | None:
        if name == "getgroups":
            return _tell_groups(known.groups, listener, note)
        ids = known.user if "uid" in name else known.group
        if name.startswith("getres"):
            values = ids.real, ids.effective, ids.saved
            pieces = {a: _ID.pack(value) for a, value in zip(note.arguments, values, strict=False)}
            _write(pieces, listener, note)
            return 0
        return ids.effective if name.startswith("gete") else ids.real

    def _become(self, name: str, listener: Notifier, note: Notification) -> int:
        before = self._table.of(note.tid) or ROOT
        ids = before.user if "uid" in name else before.group
        words = [word & _WORD for word in note.arguments]
        try:
            changed = _changed(name, ids, words, free=before.is_root)
        except OSError as error:
            return -(error.errno or EPERM)
        after = before.replace(user=changed) if "uid" in name else before.replace(group=changed)
        said = self._keep(after, listener, note)
        return ids.files if name.startswith("setfs") else said

    def _join(self, listener: Notifier, note: Notification) -> int:
        before, count = self._table.of(note.tid) or ROOT, note.arguments[0] & _WORD
        if not before.is_root:
            return -EPERM
        if count > _MOST_GROUPS:
            return -EINVAL
        try:
            with ProcessMemory(note.tid) as memory:
                data = memory.read(note.arguments[1], count * _ID.size) if count else b""
        except (OSError, OverflowError):
            return -EFAULT
        groups = tuple(number for (number,) in _ID.iter_unpack(data))
        return self._keep(before.in_groups(groups), listener, note)

    def _keep(self, credentials: ProcessIds, listener: Notifier, note: Notification) -> int:
        if not listener.is_valid(note):
            return 0
        try:
            self._table.keep(note.tid, credentials)
        except ValueError:
            return -EPERM
        return 0

    def _give(self, name: str, listener: Notifier, note: Notification) -> int | None:
        """chown(2): `folder`, path, user, group, flags as fchownat(2) has them. Raises OSError."""
        words = note.arguments
        if name == "fchown":
            folder, path, uid, gid, flags = words[0] & _WORD, b"", *words[1:3], AT_EMPTY_PATH
        else:
            if name != "fchownat":
                words = [AT_FDCWD, *words[:3], AT_SYMLINK_NOFOLLOW if name == "lchown" else 0]
            with ProcessMemory(note.tid) as memory:
                path = memory.name(words[1])
            folder, uid, gid, flags = words[0] & _WORD, *words[2:5]
        if flags & _WORD & ~_FLAGS:
            return -EINVAL
        with ProcessRoot(note) as caller:
            fd = caller.open(folder, path, flags)
            try:
                known = self._table.of(note.tid) or ROOT
                if not listener.is_valid(note):
                    return 0
                if not known.may_give(uid & _WORD, gid & _WORD):
                    return -EPERM
                named = bool(path)
                return _change(fd, caller.root, (uid & _WORD, gid & _WORD), named=named)
            finally:
                os.close(fd)


def _changed(name: str, ids: Ids, words: list[int], *, free: bool) -> Ids:
    if name.startswith("setfs"):
        return ids.for_files(words[0], free=free)
    if name.startswith("setres"):
        return ids.to_three(*words[:3], free=free)
    if name.startswith("setre"):
        return ids.to_both(*words[:2], free=free)
    return ids.to(words[0], free=free)


def _change(fd: int, root: int, owners: tuple[int, int], *, named: bool) -> int:
    """What the kernel does at a change of owner, and the note of whose the file is now."""
    try:
        linux.fchownat(fd, *(-1 if number == UNCHANGED else 0 for number in owners))
        kind = stat.S_IFMT(os.fstat(fd).st_mode)
        if kind in _KEPT_KINDS and linux.mount_id(fd) == linux.mount_id(root):
            _note(f"/proc/self/fd/{fd}", owners, named=named)
    except OSError as error:
        return -(error.errno or EPERM)
    return 0


def _note(link: str, owners: tuple[int, int], *, named: bool) -> None:
    """Keep the owner of a file. Raises OSError.

    A program that replaces a file gives the new one, by its descriptor, the owner that it saw on the old:
    always root. Then root says nothing, and the file will have the owner of the one that it replaces.
    """
    try:
        before = owner.parsed(os.getxattr(link, owner.ATTRIBUTE))
    except OSError:
        before = -1, -1
        owners = owners if named else (owners[0] or UNCHANGED, owners[1] or UNCHANGED)
    new = [old if number == UNCHANGED else number for number, old in zip(owners, before, strict=True)]
    if new != [*before]:
        os.setxattr(link, owner.ATTRIBUTE, owner.text(*new))


def _is_apart(tid: int) -> bool:
    """Whether a thread is in a user namespace of its own making."""
    return not userns.shares(tid)


def _tell_groups(groups: tuple[int, ...] | None, listener: Notifier, note: Notification) -> int | None:
    if groups is None:
        return None
    room, address = note.arguments[0] & _WORD, note.arguments[1]
    if room and room < len(groups):
        return -EINVAL
    if room:
        _write({address: b"".join(map(_ID.pack, groups))}, listener, note)
    return len(groups)


def _write(pieces: dict[int, bytes], listener: Notifier, note: Notification) -> None:
    """Into the caller's memory, if it is that still. Raises OSError."""
    with ProcessMemory(note.tid) as memory:
        if listener.is_valid(note):
            for address, data in pieces.items():
                memory.write(address, data)
