"""Extended attributes of an entry as the kernel would keep them."""

from __future__ import annotations

from struct import Struct

from ...words.errors import InvalidArchive
from ..tar.entry import Entry, Xattrs, show
from .overlay import PREFIXES

_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
_ACL_VERSION = b"\2\0\0\0"
_ACL_RULE = Struct("<HHI")
_ACL_OWNER, _ACL_GROUP, _ACL_MASK, _ACL_OTHER = 1, 4, 16, 32


def kept(entry: Entry) -> Xattrs:
    """The attributes that a file of this kind would have on disk; those of overlayfs never.

    Raises InvalidArchive for what the kernel does not accept.
    """
    found = []
    for name, value in entry.xattrs:
        if name.startswith(PREFIXES) or not _may_have(entry.kind, name):
            continue
        if not _is_accepted(name, value):
            what = f"attribute {show(name)} of {show(entry.path)}, {len(value)} bytes"
            raise InvalidArchive(f"{what}, is rejected by the kernel")
        if name == _ACLS[0]:
            value = _under_mode(value, entry.mode)
        if value or name not in _ACLS:
            found.append((name, value))
    return tuple(found)


def _may_have(kind: str, name: bytes) -> bool:
    """xattr(7): user attributes for files and folders, ACLs not for links, defaults for folders."""
    if name.startswith(b"user."):
        return kind in ("file", "dir")
    if name in _ACLS:
        return kind == "dir" or (kind != "symlink" and name == _ACLS[0])
    return True


def _is_accepted(name: bytes, value: bytes) -> bool:
    """The kernel parses two kinds of attributes when they are set; later it would fail on them."""
    if name in _ACLS:
        return _is_acl(value)
    return name != b"security.capability" or _is_caps(value)


def _is_acl(value: bytes) -> bool:
    """Version 2, then tag, permissions and id, 8 bytes each (linux/posix_acl_xattr.h)."""
    if len(value) < 4 or len(value) % 8 != 4 or value[:4] != _ACL_VERSION:
        return False
    rules = _ACL_RULE.iter_unpack(value[4:])
    return all(tag in (1, 2, 4, 8, 16, 32) and not bits & ~7 for tag, bits, _ in rules)


def _under_mode(acl: bytes, mode: int) -> bytes:
    """An access ACL after chmod, as the kernel keeps it: b"" when it says no more than the mode (acl(5))."""
    rules = list(_ACL_RULE.iter_unpack(acl[4:]))
    group = _ACL_MASK if any(tag == _ACL_MASK for tag, _, _ in rules) else _ACL_GROUP
    bits = {_ACL_OWNER: mode >> 6 & 7, group: mode >> 3 & 7, _ACL_OTHER: mode & 7}
    if all(tag in (_ACL_OWNER, _ACL_GROUP, _ACL_OTHER) for tag, _, _ in rules):
        return b""
    return _ACL_VERSION + b"".join(_ACL_RULE.pack(tag, bits.get(tag, own), who) for tag, own, who in rules)


def _is_caps(value: bytes) -> bool:
    """Revision 2 with two pairs of 32-bit sets, or 3 with a root id as well (linux/capability.h)."""
    revision = value[3] if len(value) > 3 else 0
    return (len(value), revision) in ((20, 2), (24, 3))
