"""--chown and USER as numbers, by the image's own /etc/passwd and /etc/group.

`user` alone means his primary group, a number alone the group of the same number; an empty part beside a
colon is 0. Source: Dockerfile reference, "COPY --chown"; BuildKit.
"""

from __future__ import annotations

from ...words.errors import UsageError
from ...words.lines import lines
from .place import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FILE = 1 << 20
_MAX_ID = (1 << 31) - 1


def find_owner(text: str, read: Callable[[bytes, int], bytes]) -> Owner | None:
    """The ids that `user[:group]` means, None for "". `read` gives the beginning of a file of the image.

    Raises UsageError for a name that is not there or a number out of range.
    """
    if not text:
        return None
    user, colon, group = text.partition(":")
    uid, gid = _user(user, read) if user else (0, 0)
    return Owner(uid, (_group(group, read) if group else 0) if colon else gid)


def _user(name: str, read: Callable[[bytes, int], bytes]) -> tuple[int, int]:
    number = _number(name)
    if number is not None:
        return number, number
    for fields in _rows(read(b"etc/passwd", MAX_FILE), 4):
        if fields[0] == name:
            return _number(fields[2]) or 0, _number(fields[3]) or 0
    raise UsageError(f"unable to find user {name}: no matching entries in passwd file")


def _group(name: str, read: Callable[[bytes, int], bytes]) -> int:
    number = _number(name)
    if number is not None:
        return number
    for fields in _rows(read(b"etc/group", MAX_FILE), 3):
        if fields[0] == name:
            return _number(fields[2]) or 0
    raise UsageError(f"unable to find group {name}: no matching entries in group file")


def _rows(data: bytes, least: int) -> list[list[str]]:
    rows = [line.strip().split(":") for line in lines(data.decode("utf-8", "replace"))]
    return [row for row in rows if len(row) >= least]


def _number(text: str) -> int | None:
    if text == "root":
        return 0
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > _MAX_ID:
        raise UsageError(f"invalid id {text[:20]}: ids go from 0 to {_MAX_ID}")
    return int(text)
