"""What happens to containers, images, volumes and networks of a store: a journal, and who writes it.

    events/journal       one JSON object a line, appended by one write each
    events/journal.1     the one before; it goes when the next one has grown

    {"t": nanoseconds since 1970, "y": "container", "a": "start", "i": "<id>", "v": {"name": "web", …}}

Any number of processes append without a lock: the kernel appends one write as a whole. Whoever makes the
journal too long renames it. An event that cannot be written is lost; nothing else fails for it.
"""

from __future__ import annotations

import os
from time import time_ns

from ..words.quickjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER, JOURNAL, BEFORE = "events", "events/journal", "events/journal.1"
MOST = 1 << 20
"""Bytes of a journal."""
_LONGEST = 16384


def record(root: str, kind: str, action: str, id: str, attributes: Mapping[str, str]) -> None:
    """Append an event to the journal of the store `root`. Never fails."""
    line = dumps({"t": time_ns(), "y": kind, "a": action, "i": id, "v": dict(attributes)})
    if len(line) > _LONGEST:  # labels may be as long as they like
        known = {name: attributes[name] for name in ("image", "name") if name in attributes}
        line = dumps({"t": time_ns(), "y": kind, "a": action, "i": id, "v": known})
    try:
        fd = _open(root)
        try:
            os.write(fd, line.encode(errors="replace") + b"\n")
            if os.fstat(fd).st_size > MOST:
                _rotate(root, fd)
        finally:
            os.close(fd)
    except OSError:
        return


def _open(root: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(f"{root}/{JOURNAL}", flags, 0o600)
    except FileNotFoundError:
        if os.path.isdir(root):
            os.makedirs(f"{root}/{FOLDER}", 0o700, exist_ok=True)
        return os.open(f"{root}/{JOURNAL}", flags, 0o600)


def _rotate(root: str, fd: int) -> None:
    """Under a lock on the journal itself: of several that find it too long one renames it."""
    import fcntl

    fcntl.flock(fd, fcntl.LOCK_EX)
    if os.path.samestat(os.stat(f"{root}/{JOURNAL}"), os.fstat(fd)):
        os.rename(f"{root}/{JOURNAL}", f"{root}/{BEFORE}")
