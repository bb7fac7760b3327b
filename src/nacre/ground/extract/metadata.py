"""Content and metadata of one file."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from ...grammars.layer.overlay import PREFIXES
from ...grammars.tar.entry import Entry, Reader, show
from ...words.errors import InvalidArchive, NacreError, StoreError
from .errors import reason

_CHUNK = 1 << 20
_UNKEEPABLE = (errno.ENOTSUP, errno.EPERM)


def write_content(fd: int, entry: Entry, payload: Reader) -> None:
    """Write a file, holes included. Raises InvalidArchive when the payload ends early, OSError."""
    if entry.sparse is None:
        if entry.size:
            _copy(fd, entry.size, entry, payload)
        return
    for offset, length in entry.sparse:
        os.lseek(fd, offset, os.SEEK_SET)
        _copy(fd, length, entry, payload)
    os.ftruncate(fd, entry.size)


def _copy(fd: int, left: int, entry: Entry, payload: Reader) -> None:
    while left:
        data = payload.read(min(left, _CHUNK))
        if not data:
            raise InvalidArchive(f"the content of {show(entry.path)} is {left} bytes short")
        left -= len(data)
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, data[written:])


def put_xattrs(target: int | bytes, entry: Entry) -> bool:
    """Set what the entry has, by descriptor or by a path that ends in an unfollowed name. True if some were
    refused: not supported there, or not allowed to this user.
    """
    lost = False
    for name, value in entry.xattrs:
        if name.startswith(PREFIXES):
            continue
        try:
            os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
        except OSError as error:
            if error.errno not in _UNKEEPABLE:
                raise _xattr_error(entry, name, value, error) from error
            lost = True
    return lost


def drop_xattrs(fd: int, entry: Entry) -> None:
    """An entry says all about a folder: attributes that an earlier layer gave it go."""
    wanted = {name for name, _value in entry.xattrs}
    for name in map(os.fsencode, os.listxattr(fd)):
        if name not in wanted and name != b"security.selinux" and not name.startswith(PREFIXES):
            with suppress(PermissionError):
                os.removexattr(fd, name)


def _xattr_error(entry: Entry, name: bytes, value: bytes, error: OSError) -> NacreError:
    what = f"attribute {show(name)} of {show(entry.path)}, {len(value)} bytes"
    if error.errno in (errno.EINVAL, errno.ERANGE):
        return InvalidArchive(f"{what}, is rejected by the kernel")
    return StoreError(f"{what}, cannot be kept: {reason(error)}")
