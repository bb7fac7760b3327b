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

from ..words.errors import NacreError
from ..words.quickjson import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .containers import ContainerRow

FOLDER, JOURNAL, BEFORE = "events", "events/journal", "events/journal.1"
MOST = 1 << 20
"""Bytes of a journal."""
_LONGEST = 16384
_NOWHERE = "container", "pasta", "slirp4netns"
"""Networks that are in no list."""
STANDING = {
    "host": ("host", "361f3c0935c2565ba93e702c64bfb7e012eb22cc3ec1a8ddad87d939bcb01ea8"),
    "none": ("null", "df2af78d793e96bae9caeaac7a0f553240d0752e7124e77866b7f2f6ab0be430"),
}
"""Networks that are always there and no files say more of: the driver and the id."""


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


def of_container(root: str, row: ContainerRow, action: str, more: Mapping[str, object]) -> None:
    """What happens to a container, with its image, name and labels."""
    labels = {} if '"labels":{}' in row.config_json else loads(row.config_json).get("labels", {})
    known = {"image": row.image_ref or row.image, "name": row.name}
    record(root, "container", action, row.id, labels | known | {key: str(more[key]) for key in more})


def of_image(root: str, action: str, id: str, labels: Mapping[str, str], name: str = "") -> None:
    """What happens to an image; without a name its id is told twice, as by docker."""
    record(root, "image", action, id, {**labels, "name": name or id})


def of_volumes(root: str, row: ContainerRow, *, mounted: bool) -> None:
    """The volumes of a container are mounted, or are not any more."""
    if '"volumes":[]' in row.config_json:
        return
    for mount in loads(row.config_json)["config"]["mounts"]:
        if name := mount.get("name"):
            told = {"container": row.id, "driver": "local"}
            if mounted:
                read_write = "false" if "ro" in mount["options"] else "true"
                told |= {
                    "destination": mount["destination"], "read/write": read_write, "propagation": "",
                }  # fmt: skip
            record(root, "volume", "mount" if mounted else "unmount", name, told)


def of_networks(root: str, row: ContainerRow, *, connected: bool) -> None:
    """A container is in its networks, or is not any more; one that has another's joins none."""
    known = loads(row.config_json)
    ends = known.get("endpoints")
    names = [known["network"]] if ends is None else [each["network"] for each in ends]
    for name in names:
        if name.partition(":")[0] not in _NOWHERE:
            of_network(root, "connect" if connected else "disconnect", name, row.id)


def of_network(root: str, action: str, name: str, container: str) -> None:
    """What happens between a network and a container."""
    driver, id = STANDING.get(name) or ("bridge", _id_of(root, name))
    record(root, "network", action, id, {"container": container, "name": name, "type": driver})


def _id_of(root: str, name: str) -> str:
    """Of one that has a file; its name if that is gone meanwhile, or damaged."""
    from .networks import id_of

    try:
        return id_of(root, name) or name
    except NacreError:
        return name


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
