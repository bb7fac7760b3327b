"""docker's `--mount`: one line of comma-separated fields.

    mount = field *( "," field )         field = KEY [ "=" VALUE ], quoted as in CSV where it has a comma

Source: docker/cli opts/mount.go.
"""

from __future__ import annotations

import os

from ...images.model.runtime import TmpfsMount, VolumeMount, clean
from ...words.errors import Unsupported, UsageError
from . import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_KEYS = {
    "bind": ("bind-propagation", "bind-nonrecursive", "bind-recursive"),
    "volume": ("volume-nocopy", "volume-driver", "volume-label", "volume-opt", "volume-subpath"),
    "tmpfs": ("tmpfs-size", "tmpfs-mode"),
}
_COMMON = ("type", "source", "target", "readonly", "consistency")
_FLAGS = ("readonly", "volume-nocopy", "bind-nonrecursive")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


def parse_mount(text: str, cwd: str, store_root: str) -> VolumeMount | TmpfsMount:
    """Raises UsageError, and Unsupported for what docker has and this version has not."""
    fields = _fields(text)
    kind, target = fields.get("type", "volume"), fields.get("target", "")
    if kind not in _KEYS:
        raise UsageError(f"invalid mount {text!r}: type {kind!r} is not bind, volume or tmpfs")
    if not target.startswith("/") or clean(target) == "/":
        raise UsageError(
            f"invalid mount {text!r}: target must be an absolute path other than '/'",
            hint="expected type=bind,source=/PATH,target=/PATH",
        )
    for other, keys in _KEYS.items():
        if other != kind and any(key in fields for key in keys):
            raise UsageError(f"invalid mount {text!r}: cannot mix '{other}-*' options with type {kind!r}")
    return _MAKERS[kind](fields, text, cwd, store_root)


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    known = (*_COMMON, *(key for keys in _KEYS.values() for key in keys))
    for item in _split(text):
        written, equals, value = item.partition("=")
        key = _ALIASES.get(written.lower(), written.lower())
        if key not in known:
            raise UsageError(f"unexpected key {written!r} in {item!r}", hint=f"use one of {', '.join(known)}")
        if not equals and key not in _FLAGS:
            raise UsageError(f"invalid field {item!r} in {text!r}: it must be a key=value pair")
        fields[key] = value if equals else "true"
    return fields


def _split(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise UsageError(f"invalid mount {text!r}: {error}") from None


def _flag(fields: dict[str, str], key: str) -> bool:
    value = fields.get(key, "false").lower()
    if value not in _TRUE + _FALSE:
        raise UsageError(f"invalid value for {key}: {fields[key]}")
    return value in _TRUE


def _bind(fields: dict[str, str], text: str, cwd: str, _store_root: str) -> VolumeMount:
    if not fields.get("source"):
        raise UsageError(f"invalid mount {text!r}: type bind needs a source")
    path = os.path.normpath(os.path.join(cwd, fields["source"]))
    if not os.path.exists(path):
        raise UsageError(f"bind source path does not exist: {path}")
    volumes.check_propagation(fields.get("bind-propagation", ""), text)
    if _flag(fields, "bind-nonrecursive") or fields.get("bind-recursive", "enabled") not in (
        "enabled",
        "true",
    ):
        raise Unsupported("non-recursive bind mounts are not supported")
    return VolumeMount(path, clean(fields["target"]), _flag(fields, "readonly"))


def _volume(fields: dict[str, str], text: str, _cwd: str, store_root: str) -> VolumeMount:
    for key in ("volume-label", "volume-opt", "volume-subpath"):
        if key in fields:
            raise Unsupported(f"{key} is not supported")
    if fields.get("volume-driver", "local") != "local":
        raise Unsupported(f"the only volume driver is local, not {fields['volume-driver']!r}")
    volume = volumes.named(fields.get("source", ""), store_root)
    return volume.replace(
        target=clean(fields["target"]), readonly=_flag(fields, "readonly"),
        copy=not _flag(fields, "volume-nocopy"),
    )  # fmt: skip


def _temporary(fields: dict[str, str], text: str, _cwd: str, _store_root: str) -> TmpfsMount:
    if "source" in fields:
        raise UsageError(f"invalid mount {text!r}: type tmpfs has no source")
    size = f",size={fields['tmpfs-size']}" if "tmpfs-size" in fields else ""
    readonly = ",ro" if _flag(fields, "readonly") else ""
    return volumes.parse_tmpfs(
        f"{clean(fields['target'])}:mode={fields.get('tmpfs-mode', '1777')}{size}{readonly}"
    )


_MAKERS: dict[str, Callable[[dict[str, str], str, str, str], VolumeMount | TmpfsMount]] = {
    "bind": _bind,
    "volume": _volume,
    "tmpfs": _temporary,
}
