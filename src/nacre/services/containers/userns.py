"""The user namespace of a container of root: which ids of this machine its users are.

    auto[:size=COUNT]                ids of its own, that no other container of the store has
    keep-id                          the ids of this machine, with rights in the container alone
    keep-id:uid=UID[,gid=GID]        the same ids, but for root, who is that user in the container

Files are kept with the ids that they have in the container, and shown by mapped mounts, so nothing is copied
or changed. Source: podman-run(1), subuid(5).
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from ...ground.idmap import user_namespace
from ...ground.sandbox.userns import with_namespace
from ...ground.userns import is_first, ranges_of
from ...words.errors import Unsupported, UsageError
from ...words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeVar

    from .service import Containers, CreateRequest

    T = TypeVar("T")
    Extents = tuple[tuple[int, int, int], ...]

OWNER = "containers"
"""Whose ranges in /etc/subuid and /etc/subgid are for containers, as with podman."""

SIZE = 1 << 16
_ALL = (1 << 32) - 1
_NONE = 65534


def begin(containers: Containers, request: CreateRequest, insert: Callable[[CreateRequest], T]) -> T:
    """`insert` the request with the ids that it asks for. Raises UsageError, Unsupported."""
    _check(request)
    kind, _, words = request.options.userns.partition(":")
    if kind == "keep-id":
        uids, gids = _kept(_read(words, ("uid", "gid")))
        return insert(request.replace(options=request.options.replace(uids=uids, gids=gids)))
    size = _read(words, ("size",)).get("size", SIZE)
    lock = containers.store.containers.ids_lock()
    try:
        uids, gids = _free(containers, size)
        return insert(request.replace(options=request.options.replace(uids=uids, gids=gids)))
    finally:
        lock.release(remove=True)


def _check(request: CreateRequest) -> None:
    mode = request.options.userns
    if mode == "nomap":
        raise UsageError("--userns nomap is not allowed for root", hint="--userns auto")
    if not is_first():
        raise Unsupported(
            f"--userns {mode} needs root: this system lets nobody else map the owners of files",
            hint="root in the container is you already, and other users are nobody's else",
        )
    if request.runtime != "builtin":
        raise Unsupported(f"--userns {mode} is not possible with the runtime {request.runtime}")


def _read(words: str, known: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for word in filter(None, words.split(",")):
        name, _, number = word.partition("=")
        if name not in known or not (number.isascii() and number.isdigit() and len(number) < 11):
            raise UsageError(f"invalid user namespace mode: {word!r}", hint=f"known are {', '.join(known)}")
        found[name] = int(number)
        if not 0 < found[name] < _ALL >> 1 and name == "size":
            raise UsageError(f"invalid user namespace mode: {word!r} is out of range")
    return found


def _kept(wanted: Mapping[str, int]) -> tuple[Extents, Extents]:
    uid = wanted.get("uid", 0)
    return _around(uid), _around(wanted.get("gid", uid))


def _around(own: int) -> Extents:
    """Root of this machine is `own`, and those below it move up by one."""
    if own >= _NONE:
        raise UsageError(f"invalid user namespace mode: id {own} is out of range")
    if not own:
        return ((0, 0, _ALL),)
    return ((0, 1, own), (own, 0, 1), (own + 1, own + 1, SIZE - own - 1))


def _free(containers: Containers, size: int) -> tuple[Extents, Extents]:
    """The first ids that nobody has, the same place in both ranges."""
    uids, gids = (ranges_of(path, OWNER) for path in ("/etc/subuid", "/etc/subgid"))
    if not uids or not gids:
        raise Unsupported(
            f"--userns auto needs ids for containers, and user {OWNER!r} has none",
            hint=f"add the line {OWNER}:2147483648:1073741824 to /etc/subuid and /etc/subgid",
        )
    taken = list(_taken(containers))
    return tuple(
        ((0, _first(ranges, [each[which] for each in taken], size), size),)
        for which, ranges in enumerate((uids, gids))
    )  # type: ignore[return-value]


def _taken(containers: Containers) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for row in containers.store.containers.list():
        linux = loads(row.config_json)["config"]["linux"]
        if linux.get("uidMappings") and linux["uidMappings"][0]["hostID"] > 1:
            yield tuple(  # type: ignore[misc]
                (linux[key][0]["hostID"], linux[key][0]["size"]) for key in ("uidMappings", "gidMappings")
            )


def _first(ranges: list[tuple[int, int]], taken: list[tuple[int, int]], size: int) -> int:
    for begin_, count in ranges:
        place = begin_
        while place + size <= begin_ + count:
            other = next((one for one in taken if one[0] < place + size and place < one[0] + one[1]), None)
            if other is None:
                return place
            place = other[0] + other[1]
    raise Unsupported(
        f"there are no {size} free ids for --userns auto",
        hint=f"add a longer range for {OWNER} to /etc/subuid and /etc/subgid, or remove containers",
    )


@contextmanager
def ready(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The config with a namespace that is there until the end of the block. Raises SandboxError."""
    linux = config["linux"]
    uids, gids = (
        [(each["containerID"], each["hostID"], each["size"]) for each in linux[key]]
        for key in ("uidMappings", "gidMappings")
    )
    fd = user_namespace(uids, gids)
    try:
        path = f"/proc/{os.getpid()}/fd/{fd}"
        mounts = [_mapped(entry, path) for entry in config["mounts"]] if uids[0][1] else config["mounts"]
        yield with_namespace(config, path) | {"mounts": mounts}
    finally:
        os.close(fd)


def _mapped(entry: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Named volumes and files of nacre's own show the ids of the container; those of the host do not."""
    own = entry.get("name") or entry.get("standin")
    return {**entry, "userns": path} if own and not entry.get("idmap") else entry
