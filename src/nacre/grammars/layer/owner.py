"""The owner that a file was given where no other than our own exists: an extended attribute of it.

    user.nacre.owner = UID:GID      a number that is missing is not changed, as -1 is not by chown(2)

The kernel lets every owner of a file set such an attribute, so it says no more than chown(2) would.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..tar.entry import Entry, Xattrs

ATTRIBUTE = b"user.nacre.owner"

_LAST = (1 << 32) - 2


def text(uid: int, gid: int) -> bytes:
    """The value; -1 for what is not changed."""
    return b":".join(b"%d" % number if number >= 0 else b"" for number in (uid, gid))


def parsed(value: bytes) -> tuple[int, int]:
    """Both numbers, -1 for what is missing, or is none: a program may write there what it likes."""
    uid, _, gid = value.partition(b":")
    return _number(uid), _number(gid)


def _number(word: bytes) -> int:
    number = int(word) if word.isdigit() and len(word) <= len(str(_LAST)) else -1
    return number if number <= _LAST else -1


def without(xattrs: Xattrs) -> Xattrs:
    """Attributes without this one."""
    return tuple(pair for pair in xattrs if pair[0] != ATTRIBUTE)


def given(entry: Entry) -> Entry:
    """The entry with the owner that its attribute says, and without the attribute."""
    value = dict(entry.xattrs).get(ATTRIBUTE)
    if value is None:
        return entry
    uid, gid = parsed(value)
    return entry._replace(
        uid=entry.uid if uid < 0 else uid,
        gid=entry.gid if gid < 0 else gid,
        xattrs=without(entry.xattrs),
    )
