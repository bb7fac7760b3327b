"""What the user mounts: `-v`, `--mount` and `--tmpfs` as text, and what comes of them for one container.

A volume by name is the folder volumes/<name> under the store's root. Nothing is made here: that is `filling`,
when everything has been checked. Source: docker's documentation of `--volume`, `--mount` and `--tmpfs`;
moby volume/mounts/linux_parser.go.
"""

from __future__ import annotations

import os

from ...images.model.runtime import TmpfsMount, VolumeMount, clean
from ...stores.volumes import place
from ...words.errors import Unsupported, UsageError
from ...words.quickjson import loads
from .names import is_name, new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...images.model.runtime import RunOptions
    from ...stores.store import Store

_MODES = (
    ("ro", "rw"), ("z", "Z"), ("nocopy",), ("consistent", "cached", "delegated", "default"),
    ("rprivate", "private", "rslave", "slave", "rshared", "shared"),
)  # fmt: skip
"""Words after the target; of each row one at most."""
_SHARED = ("rshared", "shared")
_TMPFS = frozenset(
    "ro rw noexec exec nosuid suid nodev dev noatime relatime strictatime".split()  # noqa: SIM905
)
_TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")


def parse_volume(text: str, cwd: str, store_root: str) -> VolumeMount:
    """`HOST:CONTAINER[:MODE]`, `NAME:CONTAINER[:MODE]`, or `CONTAINER` alone for a new anonymous volume.

    Raises UsageError.
    """
    parts = text.split(":")
    source, target, mode = ("", *parts, "")[:3] if len(parts) == 1 else (*parts, "")[:3]
    if len(parts) > 3 or (len(parts) > 1 and not source) or not target.startswith("/"):
        raise UsageError(
            f"invalid volume specification: {text!r}", hint="expected SOURCE:/PATH/IN/CONTAINER[:ro]"
        )
    _check_target(target, text)
    words = _words(mode, text)
    volume = _source(source, cwd, store_root)
    if "nocopy" in words and not volume.name:
        raise UsageError(f"invalid mode 'nocopy' in volume specification {text!r}: it is for named volumes")
    return volume.replace(target=clean(target), readonly="ro" in words, copy="nocopy" not in words)


def _check_target(target: str, text: str) -> None:
    if clean(target) == "/":
        raise UsageError(f"invalid volume specification: {text!r}: destination can't be '/'")


def _words(mode: str, text: str) -> list[str]:
    words = mode.split(",") if mode else []
    known = [word for row in _MODES for word in row]
    wrong = [word for word in words if word not in known]
    wrong += [word for row in _MODES for word in words if word in row and sum(w in row for w in words) > 1]
    if wrong:
        raise UsageError(f"invalid mode {wrong[0]!r} in volume specification {text!r}")
    for word in words:
        check_propagation(word if word in _MODES[-1] else "", text)
    return words


def check_propagation(word: str, text: str) -> None:
    """Raises UsageError for a way that is none, and Unsupported for one that shares with the host."""
    if word and word not in _MODES[-1]:
        raise UsageError(f"invalid propagation mode {word!r} in {text!r}")
    if word in _SHARED:
        raise Unsupported(
            f"bind propagation {word!r} is not supported",
            hint="mounts of a container are never visible outside it",
        )


def _source(source: str, cwd: str, store_root: str) -> VolumeMount:
    if source.startswith(("/", "./", "../", "~")) or source in (".", ".."):
        return VolumeMount(os.path.normpath(os.path.join(cwd, source)), "", make=True)
    return named(source, store_root)


def named(source: str, store_root: str) -> VolumeMount:
    """A volume of the store, "" for a new anonymous one; without a target yet. Raises UsageError."""
    if not source:
        return _anonymous(store_root)
    if not is_name(source):
        raise UsageError(
            f"{source!r} includes invalid characters for a volume name",
            hint="a host path must be absolute or start with ./",
        )
    return VolumeMount(place(store_root, source), "", name=source)


def _anonymous(store_root: str, target: str = "") -> VolumeMount:
    """Nobody else has it, so it can be lent where nothing can be mounted."""
    name = new_id()
    return VolumeMount(place(store_root, name), target, standin="lend", name=name, anonymous=True)


def of_container(store: Store, text: str) -> list[VolumeMount]:
    """`NAME[:ro|rw]` of --volumes-from: what another container has. Raises NotFound, UsageError."""
    name, _, mode = text.partition(":")
    if mode not in ("", "ro", "rw"):
        raise UsageError(f"invalid mode {mode!r} in volumes-from specification {text!r}")
    record = loads(store.containers.get(name).config_json)
    own = set(record.get("volumes", ()))
    return [
        VolumeMount(
            mount["source"], mount["destination"], mode == "ro" or "ro" in mount["options"], inherited=True
        )
        for mount in record["config"]["mounts"]
        if mount.get("source") in own
    ]


def parse_tmpfs(text: str) -> TmpfsMount:
    """`/PATH[:OPTIONS]`, options from a list. Raises UsageError."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise UsageError(f"invalid tmpfs path {target!r}: it must be absolute")
    words = tuple(word for word in options.split(",") if word)
    for word in words:
        key, equals, value = word.partition("=")
        good = word in _TMPFS or (key in _TMPFS_VALUES and equals and value.isalnum())
        if not good:
            raise UsageError(f"invalid tmpfs option {word!r}")
    if words and not any(word.startswith("mode=") for word in words):
        words += ("mode=1777",)
    return TmpfsMount(clean(target), words)


def complete(options: RunOptions, image_volumes: Mapping[str, object], store_root: str) -> RunOptions:
    """With an anonymous volume for each folder that the image names as one and nothing is mounted at.

    The same mount twice is one. Raises UsageError when two are wanted at one place.
    """
    temporary = {mount.target: mount for mount in options.temporary}
    taken: dict[str, VolumeMount] = {}
    for volume in dict.fromkeys(options.volumes):
        _take(taken, volume)
    both = [target for target, volume in taken.items() if target in temporary and not _yields(volume)]
    if both:
        raise _duplicate(both[0])
    for path in image_volumes:
        _take(taken, _anonymous(store_root, _folder_of(path)))
    volumes = tuple(volume for target, volume in taken.items() if target not in temporary)
    return options.replace(volumes=volumes, temporary=tuple(temporary.values()))


def _take(taken: dict[str, VolumeMount], volume: VolumeMount) -> None:
    """One that nobody asked for at this place gives way to one that somebody did."""
    before = taken.get(volume.target)
    if before is None or (_yields(before) and not _yields(volume)):
        taken[volume.target] = volume
    elif not _yields(volume):
        raise _duplicate(volume.target)


def _yields(volume: VolumeMount) -> bool:
    return volume.anonymous or volume.inherited


def _duplicate(target: str) -> UsageError:
    return UsageError(f"Duplicate mount point: {target}")


def _folder_of(path: str) -> str:
    target = clean(path)
    if target == "/":
        raise UsageError("invalid volume of the image: destination can't be '/'")
    return target
