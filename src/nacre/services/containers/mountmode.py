"""The words after a target in `-v SOURCE:TARGET:WORDS`: docker's, and podman's `U` and `idmap`.

Source: moby volume/mounts/linux_parser.go; podman-run(1), --volume.
"""

from __future__ import annotations

import os

from ...ground import mounts, userns
from ...ground.files import os_errors
from ...words.errors import Unsupported, UsageError
from ...words.mount import PROPAGATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...images.model.runtime import VolumeMount

CONSISTENCIES = ("consistent", "cached", "delegated", "default")
_KINDS = (("ro", "rw"), ("z", "Z"), ("nocopy",), ("U",), CONSISTENCIES, PROPAGATIONS)
"""Of each row one word at most."""

_SYSTEM = frozenset((
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt",
    "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local",
    "/usr/sbin", "/var", "/var/lib", "/var/log", "/var/tmp",
))  # fmt: skip
"""Folders of the host whose files are never given to others as a whole."""


def with_words(volume: VolumeMount, mode: str, text: str) -> VolumeMount:
    """The mount as the words after its target want it. Raises UsageError, Unsupported."""
    words = _words(mode, text)
    if "nocopy" in words and not volume.name:
        raise UsageError(f"invalid mode 'nocopy' in volume specification {text!r}: it is for named volumes")
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    if propagation and volume.name:
        raise UsageError(
            f"invalid mode {propagation!r} in volume specification {text!r}: it is for folders of the host"
        )
    idmap = next((word for word in words if word.partition("=")[0] == "idmap"), "")
    return changed(
        volume.replace(
            readonly="ro" in words, copy="nocopy" not in words, options=(propagation or "rprivate",),
            chown="U" in words, relabel=next((word for word in words if word in ("z", "Z")), ""),
            idmap=idmap and parse_idmap(idmap.partition("=")[2], text),
        )
    )  # fmt: skip


def _words(mode: str, text: str) -> list[str]:
    words = mode.split(",") if mode else []
    kinds = [_kind(word) for word in words]
    for word, kind in zip(words, kinds, strict=True):
        if kind < 0 or kinds.count(kind) > 1:
            raise UsageError(f"invalid mode {word!r} in volume specification {text!r}")
    return words


def _kind(word: str) -> int:
    if word.partition("=")[0] == "idmap":
        return len(_KINDS)
    return next((number for number, row in enumerate(_KINDS) if word in row), -1)


def changed(volume: VolumeMount) -> VolumeMount:
    """The mount, if this machine and this source allow what is asked. Raises UsageError, Unsupported."""
    propagation = volume.options[0].removeprefix("r") if volume.options else "private"
    if propagation in ("shared", "slave"):
        _check_propagation(volume.source, propagation)
    if (volume.chown or volume.relabel) and not volume.name and os.path.realpath(volume.source) in _SYSTEM:
        what = "changing the owners" if volume.chown else "SELinux relabeling"
        raise UsageError(f"{what} of {volume.source} is not allowed: it belongs to the system")
    if volume.idmap and not userns.is_first():
        raise Unsupported(
            "idmapped mounts need root",
            hint="the ids of your range have the same owners in all your containers",
        )
    return volume


def _check_propagation(source: str, wanted: str) -> None:
    with os_errors(f"look at the mount of {source}"):
        place, kind = mounts.shared_with(source)
    if wanted == "shared" and not userns.is_first():
        raise Unsupported(
            "bind propagation 'shared' needs root: mounts in a user's container are never visible outside it"
        )
    if kind == wanted or kind == "shared":
        return
    demand = "a shared mount" if wanted == "shared" else "a shared or slave mount"
    raise UsageError(
        f"path {source} is mounted on {place} but it is not {demand}",
        hint="mount(8) can make it one",
    )


def parse_idmap(text: str, whole: str) -> str:
    """podman's `uids=ID-MAPPED-COUNT[#…][;gids=…]`, checked. Raises UsageError."""
    if not text:
        raise UsageError(
            f"invalid mode 'idmap' in {whole!r}: there is no user namespace to take the ids from",
            hint="expected idmap=uids=ON_DISK-SHOWN-COUNT;gids=ON_DISK-SHOWN-COUNT",
        )
    read_idmap(text)
    return text


def read_idmap(text: str) -> dict[str, list[tuple[int, int, int]]]:
    """Extents (on disk, shown, count) by `uids` and `gids`. Raises UsageError."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for part in text.split(";"):
        kind, equals, extents = part.partition("=")
        if kind not in ("uids", "gids") or not equals or kind in found:
            raise UsageError(f"invalid idmap {text!r}", hint="expected uids=0-1000-1;gids=0-1000-1")
        found[kind] = [_extent(extent, text) for extent in extents.split("#")]
    usual = next(iter(found.values()))
    return {kind: found.get(kind, usual) for kind in ("uids", "gids")}


_MOST_IDS = 0xFFFFFFFF


def _extent(text: str, whole: str) -> tuple[int, int, int]:
    numbers = text.removeprefix("@").split("-")
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise UsageError(f"invalid idmap {whole!r}: {text!r} is not ON_DISK-SHOWN-COUNT")
    disk, shown, count = (int(number) if len(number) < 11 else _MOST_IDS for number in numbers)
    if not count or max(disk, shown) + count > _MOST_IDS:
        raise UsageError(f"invalid idmap {whole!r}: {text!r} is out of range")
    return disk, shown, count
