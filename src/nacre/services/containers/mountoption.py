"""docker's `--mount`: one line of comma-separated fields.

    mount = field *( "," field )         field = KEY [ "=" VALUE ], quoted as in CSV where it has a comma

Source: docker/cli opts/mount.go and mount_utils.go, moby volume/mounts/linux_parser.go.
"""

from __future__ import annotations

import os

from ...grammars.csvline import read_record
from ...images.model.runtime import TmpfsMount, VolumeMount, clean
from ...words.errors import UsageError
from ...words.mount import PROPAGATIONS
from ...words.sizes import read_size
from . import volumes
from .driveroptions import check_driver, check_options
from .mountmode import CONSISTENCIES, changed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Pairs = tuple[tuple[str, str], ...]
    Fields = dict[str, str]

_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_KEYS = {
    "bind": ("bind-propagation", "bind-nonrecursive", "bind-recursive", "bind-create-src"),
    "volume": ("volume-nocopy", "volume-driver", "volume-label", "volume-opt", "volume-subpath"),
    "image": ("image-subpath",),
    "tmpfs": ("tmpfs-size", "tmpfs-mode"),
}
_COMMON = ("type", "source", "target", "readonly", "consistency")
_FLAGS = ("readonly", "volume-nocopy", "bind-nonrecursive", "bind-create-src")
_MANY = ("volume-label", "volume-opt")
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_DEPTHS = ("enabled", "disabled", "writable", "readonly")


class MountOption:
    """What stands in one `--mount`: values by key, and those that may be repeated as pairs."""

    def __init__(self, text: str) -> None:
        """Raises UsageError for what cannot be read."""
        self.text = text
        self.values: Fields = {}
        self.pairs: dict[str, dict[str, str]] = {key: {} for key in _MANY}
        if not text.strip():
            raise UsageError("invalid mount: value is empty")
        for field in read_record(text.strip()):
            self._add(field)
        self.kind = self.values.get("type", "volume").lower()

    def _add(self, field: str) -> None:
        written, equals, value = field.partition("=")
        _check_spaces(written, equals, value, field)
        key = _ALIASES.get(written.lower(), written.lower())
        if key not in _FLAGS and not equals:
            raise UsageError(f"invalid field '{field}' must be a key=value pair")
        if key not in _KNOWN:
            raise UsageError(
                f"unexpected key '{written}' in '{field}'", hint=f"use one of {', '.join(_KNOWN)}"
            )
        if key in _MANY:
            name, _, text = value.partition("=")
            self.pairs[key][name] = text
        self.values[key] = value if equals else "true"

    def error(self, what: str) -> UsageError:
        """docker's sentence for a mount that makes no sense."""
        return UsageError(f'invalid mount config for type "{self.kind}": {what}')

    def flag(self, key: str) -> bool:
        """A boolean, False unless it was given. Raises UsageError."""
        value = self.values.get(key, "false")
        if value not in _BOOLEANS:
            raise UsageError(f"invalid value for '{key}': {value} (must be true, false, 1 or 0)")
        return _BOOLEANS[value]

    def word(self, key: str, known: tuple[str, ...]) -> str:
        """One of several, "" if it was not given. Raises UsageError."""
        value = self.values.get(key, "")
        if value and value not in known:
            raise UsageError(f"invalid value for {key}: {value} (must be one of {', '.join(known)})")
        return value

    def subpath(self, key: str) -> str:
        """A path beneath what is mounted. Raises UsageError."""
        value = self.values.get(key, "")
        plain = os.path.normpath(value)
        if value and (plain.startswith(("/", "../")) or plain == ".."):
            raise self.error(f"subpath must be a relative path within the {self.kind}")
        return plain if value and plain != "." else ""


_KNOWN = (*_COMMON, *(key for keys in _KEYS.values() for key in keys))


def _check_spaces(key: str, equals: str, value: str, field: str) -> None:
    if key.strip() != key:
        raise UsageError(f"invalid option '{key.strip()}' in '{field}': option should not have whitespace")
    if equals and not value.strip():
        raise UsageError(f"invalid value for '{key}': value is empty")
    if value.strip() != value:
        raise UsageError(f"invalid value for '{key}' in '{field}': value should not have whitespace")


def parse_mount(text: str, cwd: str, store_root: str) -> VolumeMount | TmpfsMount:
    """Raises UsageError, and Unsupported for what docker has and this version has not."""
    option = MountOption(text)
    if option.kind not in _MAKERS:
        raise UsageError(
            f'invalid mount config for type "{option.kind}": mount type unknown',
            hint=f"use one of {', '.join(_MAKERS)}",
        )
    for other, keys in _KEYS.items():
        if other != option.kind and any(key in option.values for key in keys):
            raise UsageError(f"cannot mix '{other}-*' options with mount type '{option.kind}'")
    _check_target(option)
    option.word("consistency", CONSISTENCIES)
    return _MAKERS[option.kind](option, cwd, store_root)


def _check_target(option: MountOption) -> None:
    target = option.values.get("target", "")
    if not target:
        raise option.error("target is required")
    if not target.startswith("/"):
        raise option.error(f"invalid mount path: '{target}' mount path must be absolute")
    if clean(target) == "/":
        raise option.error("invalid specification: destination can't be '/'")


def _bind(option: MountOption, cwd: str, _store_root: str) -> VolumeMount:
    source = option.values.get("source", "")
    if not source:
        raise option.error("field Source must not be empty")
    if not source.startswith(("/", ".")):
        raise option.error(f"invalid mount path: '{source}' mount path must be absolute")
    path, make = os.path.normpath(os.path.join(cwd, source)), option.flag("bind-create-src")
    if not make and not os.path.exists(path):
        raise option.error(f"bind source path does not exist: {path}")
    propagation = option.word("bind-propagation", PROPAGATIONS)
    depth, readonly = _depth(option), option.flag("readonly")
    if depth in ("writable", "readonly") and not readonly:
        raise UsageError(
            f"option 'bind-recursive={depth}' requires 'readonly' to be specified in conjunction"
        )
    if depth == "readonly" and propagation != "rprivate":
        raise UsageError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in "
            "conjunction"
        )
    more = {"disabled": ("bind",), "writable": ("ro",)}.get(depth, ())
    options = (propagation or "rprivate", *more)
    return changed(VolumeMount(path, clean(option.values["target"]), readonly, make=make, options=options))


def _depth(option: MountOption) -> str:
    """How much of what is mounted beneath a folder comes along."""
    depth = option.word("bind-recursive", _DEPTHS) or "enabled"
    return "disabled" if option.flag("bind-nonrecursive") else depth


def _volume(option: MountOption, _cwd: str, store_root: str) -> VolumeMount:
    source, subpath = option.values.get("source", ""), option.subpath("volume-subpath")
    if subpath and not source:
        raise option.error("must not set Subpath when using anonymous volumes")
    check_driver(option.values.get("volume-driver", "local"))
    check_options(option.pairs["volume-opt"])
    return volumes.named(source, store_root).replace(
        target=clean(option.values["target"]), readonly=option.flag("readonly"),
        copy=not option.flag("volume-nocopy"), subpath=subpath,
        labels=tuple(option.pairs["volume-label"].items()),
        driver_options=tuple(option.pairs["volume-opt"].items()),
    )  # fmt: skip


def _image(option: MountOption, _cwd: str, _store_root: str) -> VolumeMount:
    """Of which image is found out by who makes the container."""
    source = option.values.get("source", "")
    if not source:
        raise option.error("field Source must not be empty")
    return VolumeMount(
        source, clean(option.values["target"]), True, image=source, options=("rprivate",),
        subpath=option.subpath("image-subpath"),
    )  # fmt: skip


def _temporary(option: MountOption, _cwd: str, _store_root: str) -> TmpfsMount:
    if "source" in option.values:
        raise option.error("field Source must not be specified")
    words = [f"mode={_mode(option)}", *(["ro"] if option.flag("readonly") else [])]
    if "tmpfs-size" in option.values:
        words.append(f"size={_size(option.values['tmpfs-size'])}")
    return TmpfsMount(clean(option.values["target"]), tuple(words))


def _mode(option: MountOption) -> str:
    mode = option.values.get("tmpfs-mode", "1777")
    if not volumes.is_mode(mode):
        raise UsageError(f"invalid value for tmpfs-mode: {mode}", hint="expected octal digits such as 1777")
    return f"{int(mode, 8):o}"


def _size(text: str) -> int:
    try:
        return read_size(text)
    except ValueError:
        raise UsageError(f"invalid value for tmpfs-size: {text}", hint="expected 64m, 1g or bytes") from None


_MAKERS: dict[str, Callable[[MountOption, str, str], VolumeMount | TmpfsMount]] = {
    "bind": _bind,
    "volume": _volume,
    "image": _image,
    "tmpfs": _temporary,
}


def shown(text: str, cwd: str) -> dict[str, Any]:
    """A `--mount` that can be read as docker's `inspect` shows it, in HostConfig.Mounts."""
    option = MountOption(text)
    values, source = option.values, option.values.get("source", "")
    if option.kind == "bind":
        source = os.path.normpath(os.path.join(cwd, source))
    known = {
        "Type": option.kind, "Source": source, "Target": clean(values["target"]),
        "ReadOnly": option.flag("readonly"), "Consistency": values.get("consistency", ""),
    }  # fmt: skip
    if more := _OWN[option.kind](option):
        known[f"{option.kind.capitalize()}Options"] = more
    return _without_empty(known)


def _bind_shown(option: MountOption) -> dict[str, Any]:
    depth = option.values.get("bind-recursive", "")
    known = {
        "Propagation": option.values.get("bind-propagation", ""),
        "NonRecursive": option.flag("bind-nonrecursive") or depth == "disabled",
        "CreateMountpoint": option.flag("bind-create-src"),
        "ReadOnlyNonRecursive": depth == "writable", "ReadOnlyForceRecursive": depth == "readonly",
    }  # fmt: skip
    return _without_empty(known)


def _volume_shown(option: MountOption) -> dict[str, Any]:
    driver = _without_empty({
        "Name": option.values.get("volume-driver", ""), "Options": option.pairs["volume-opt"],
    })  # fmt: skip
    found = _without_empty({
        "NoCopy": option.flag("volume-nocopy"), "Labels": option.pairs["volume-label"],
        "Subpath": option.values.get("volume-subpath", ""),
    })  # fmt: skip
    return found | {"DriverConfig": driver} if found or driver else {}


def _tmpfs_shown(option: MountOption) -> dict[str, Any]:
    size, mode = option.values.get("tmpfs-size"), option.values.get("tmpfs-mode")
    return ({"SizeBytes": read_size(size)} if size else {}) | ({"Mode": int(mode, 8)} if mode else {})


def _image_shown(option: MountOption) -> dict[str, Any]:
    return _without_empty({"Subpath": option.values.get("image-subpath", "")})


def _without_empty(known: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in known.items() if value}


_OWN: dict[str, Callable[[MountOption], dict[str, Any]]] = {
    "bind": _bind_shown, "volume": _volume_shown, "tmpfs": _tmpfs_shown, "image": _image_shown
}  # fmt: skip
