"""What the user mounts: `-v`, `--mount` and `--tmpfs` as text, and what comes of them for one container.

A volume by name is the folder volumes/<name> under the store's root. Nothing is made here: that is `filling`,
when everything has been checked. Source: docker's documentation of `--volume`, `--mount` and `--tmpfs`;
moby volume/mounts/linux_parser.go.
"""

from __future__ import annotations

import os

from ...images.model.runtime import TmpfsMount, VolumeMount, clean
from ...stores.volumes import content, described, exists, named_by, place
from ...words.errors import UsageError
from ...words.mount import PROPAGATIONS
from ...words.quickjson import loads
from .mountmode import with_words
from .names import is_name, new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...images.model.runtime import RunOptions
    from ...stores.store import Store

_FLAGS = frozenset((
    "ro", "rw", "noexec", "exec", "nosuid", "suid", "nodev", "dev", "sync", "async", "dirsync", "atime",
    "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime", "defaults",
))  # fmt: skip
_AMOUNTS = {"size": "kmgtpe%", "nr_inodes": "kmg", "nr_blocks": "kmg"}
"""Options of tmpfs that are numbers, and the units of each."""
_MOST_ID = (1 << 31) - 1


def parse_volume(text: str, cwd: str, store_root: str) -> VolumeMount:
    """`HOST:CONTAINER[:MODE]`, `NAME:CONTAINER[:MODE]`, or `CONTAINER` alone for a new anonymous volume.

    Raises UsageError, Unsupported.
    """
    parts = text.split(":")
    source, target, mode = ("", *parts, "")[:3] if len(parts) == 1 else (*parts, "")[:3]
    if len(parts) > 3 or (len(parts) > 1 and not source) or not target.startswith("/"):
        raise UsageError(
            f"invalid volume specification: {text!r}", hint="expected SOURCE:/PATH/IN/CONTAINER[:ro]"
        )
    if clean(target) == "/":
        raise UsageError(f"invalid volume specification: {text!r}: destination can't be '/'")
    return with_words(_source(source, cwd, store_root).replace(target=clean(target)), mode, text)


def _source(source: str, cwd: str, store_root: str) -> VolumeMount:
    if source.startswith(("/", "./", "../")) or source in (".", ".."):
        return VolumeMount(os.path.normpath(os.path.join(cwd, source)), "", make=True)
    return named(source, store_root)


def check_name(name: str) -> None:
    """Raises UsageError for what cannot be the name of a volume."""
    if len(name) == 1 and name.isalnum():
        raise UsageError(
            f"volume name {name!r} is too short: names should be at least two alphanumeric characters"
        )
    if not is_name(name):
        raise UsageError(
            f"{name!r} includes invalid characters for a volume name",
            hint="a host path must be absolute or start with ./",
        )


def named(source: str, store_root: str) -> VolumeMount:
    """A volume of the store, "" for a new anonymous one; without a target yet. Raises UsageError."""
    if not source:
        return _anonymous(store_root)
    check_name(source)
    return VolumeMount(place(store_root, source), "", name=source, options=("rprivate",))


def _anonymous(store_root: str, target: str = "") -> VolumeMount:
    """Nobody else has it, so it can be lent where nothing can be mounted."""
    name = new_id()
    return VolumeMount(
        place(store_root, name), target, standin="lend", name=name, anonymous=True, options=("rprivate",)
    )


def of_container(store: Store, text: str) -> list[VolumeMount]:
    """`NAME[:ro|rw|z|Z]` of --volumes-from: what another container has. Raises NotFound, UsageError."""
    name, colon, mode = text.partition(":")
    words = mode.split(",") if mode else []
    if not name or (colon and not set(words) <= _INHERITED) or len(words) > len(_one_of_each(words)):
        raise UsageError(f"invalid mode {mode!r} in volumes-from specification {text!r}")
    record = loads(store.containers.get(name).config_json)
    own, anonymous = set(record.get("volumes", ())), record.get("anonymous", ())
    relabel = next((word for word in words if word in ("z", "Z")), "")
    found = [_inherited(store.root, mount) for mount in record["config"]["mounts"] if mount["source"] in own]
    return [
        mount.replace(
            readonly=mount.readonly or "ro" in words, anonymous=mount.name in anonymous,
            relabel="" if mount.image else relabel,
        )
        for mount in found
    ]  # fmt: skip


_INHERITED = frozenset(("ro", "rw", "z", "Z"))


def _one_of_each(words: list[str]) -> set[str]:
    return {word.lower().replace("rw", "ro") for word in words}


def _inherited(root: str, mount: Mapping[str, Any]) -> VolumeMount:
    """As the other container has it."""
    kept = tuple(word for word in mount["options"] if word in PROPAGATIONS or word == "bind")
    name = mount.get("name") or named_by(root, mount["source"])
    return VolumeMount(
        mount["source"], mount["destination"], "ro" in mount["options"], name=name, copy=False,
        inherited=True, options=kept or ("rprivate",), layers=tuple(mount.get("layers", ())),
        **{key: mount[key] for key in ("subpath", "idmap", "image") if key in mount},
    )  # fmt: skip


def parse_tmpfs(text: str) -> TmpfsMount:
    """`/PATH[:OPTIONS]`, options from a list. Raises UsageError."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise UsageError(f"invalid tmpfs path {target!r}: it must be absolute")
    if clean(target) == "/":
        raise UsageError(f"invalid tmpfs path {target!r}: destination can't be '/'")
    words = tuple(word for word in options.split(",") if word)
    for word in words:
        if not _is_tmpfs_option(word):
            raise UsageError(f"invalid tmpfs option {word!r}")
    if words and not any(word.startswith("mode=") for word in words):
        words += ("mode=1777",)
    return TmpfsMount(clean(target), _last_of_each(words))


def _last_of_each(words: tuple[str, ...]) -> tuple[str, ...]:
    """A later option counts more than an earlier one that says the same or the opposite, as in mount(8)."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, _ = word.partition("=")
        subject = key if equals else key.removeprefix("no").replace("ro", "rw")
        found.pop(subject, None)
        found[subject] = word
    return tuple(found.values())


def _is_tmpfs_option(word: str) -> bool:
    """Whether the kernel takes it as well."""
    key, equals, value = word.partition("=")
    if not equals or not value.isascii():
        return word in _FLAGS
    if key in _AMOUNTS:
        return (value[:-1] if value[-1:].lower() in _AMOUNTS[key] else value).isdecimal() and len(value) < 20
    if key == "mode":
        return is_mode(value)
    return key in ("uid", "gid") and value.isdecimal() and len(value) < 20 and int(value) <= _MOST_ID


def is_mode(text: str) -> bool:
    """Whether `text` is the mode of a folder in octal digits."""
    return text.isascii() and text.isdigit() and not set(text) & set("89") and int(text, 8) <= 0o7777


def complete(options: RunOptions, image_volumes: Mapping[str, object], store_root: str) -> RunOptions:
    """With an anonymous volume for each folder that the image names as one and nothing is mounted at.

    The same mount twice is one. Raises UsageError when two are wanted at one place.
    """
    temporary: dict[str, TmpfsMount] = {}
    for mount in dict.fromkeys(options.temporary):
        if mount.target in temporary:
            raise _duplicate(mount.target, "tmpfs", "tmpfs")
        temporary[mount.target] = mount
    taken: dict[str, VolumeMount] = {}
    for volume in dict.fromkeys(options.volumes):
        if volume.target in temporary and not _yields(volume):
            raise _duplicate(volume.target, _shown(volume), "tmpfs")
        _take(taken, volume)
    for path in image_volumes:
        _take(taken, _anonymous(store_root, _folder_of(path)))
    volumes = tuple(
        _located(volume, store_root) for target, volume in taken.items() if target not in temporary
    )
    return options.replace(volumes=volumes, temporary=tuple(temporary.values()))


def _located(volume: VolumeMount, root: str) -> VolumeMount:
    """With the source that the options of its driver name, once it is there, else those asked for."""
    if not volume.name or volume.anonymous or volume.inherited:
        return volume
    options = described(root, volume.name)[1] if exists(root, volume.name) else volume.driver_options
    if options:
        from .driveroptions import check_device

        check_device(volume.name, dict(options))
    return volume.replace(source=content(root, volume.name, options))


def _take(taken: dict[str, VolumeMount], volume: VolumeMount) -> None:
    """One that nobody asked for at this place gives way to one that somebody did."""
    before = taken.get(volume.target)
    if before is None or _rank(volume) > _rank(before) or (volume.inherited and before.inherited):
        taken[volume.target] = volume
    elif not _yields(volume):
        raise _duplicate(volume.target, _shown(before), _shown(volume))


def _rank(volume: VolumeMount) -> int:
    return 1 if volume.inherited else 0 if volume.anonymous else 2


def _yields(volume: VolumeMount) -> bool:
    return _rank(volume) < 2


def _shown(volume: VolumeMount) -> str:
    return "an anonymous volume" if volume.anonymous else volume.name or volume.source


def _duplicate(target: str, one: str, other: str) -> UsageError:
    return UsageError(f"Duplicate mount point: {target}: {one} and {other}")


def _folder_of(path: str) -> str:
    target = clean(path)
    if target == "/":
        raise UsageError("invalid volume of the image: destination can't be '/'")
    return target
