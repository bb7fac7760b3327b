"""What the user mounts: `-v`, `--mount`-like texts and `--tmpfs`, and volumes by name.

A named volume is the folder volumes/<name> under the store's root, made at its first use. Source:
docker's documentation of `--volume` and `--tmpfs`.
"""

from __future__ import annotations

import os

from ...ground.files import os_errors
from ...images.runtime import Temporary, Volume
from ...stores.volumes import make
from ...words.errors import UsageError
from .names import is_name

_IGNORED = frozenset(
    "rw z Z nocopy consistent cached delegated rprivate private rslave slave rshared shared".split()  # noqa: SIM905
)
_TMPFS = frozenset(
    "ro rw noexec exec nosuid suid nodev dev noatime relatime strictatime".split()  # noqa: SIM905
)
_TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")


def parse_volume(text: str, cwd: str, store_root: str) -> Volume:
    """`HOST:CONTAINER[:OPTIONS]` or `NAME:CONTAINER[:OPTIONS]`; the folder is made if absent.

    Raises UsageError, StoreError.
    """
    source, colon, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not colon or not source or not target.startswith("/"):
        raise UsageError(
            f"invalid volume specification: {text!r}", hint="expected SOURCE:/PATH/IN/CONTAINER[:ro]"
        )
    return Volume(_source(source, cwd, store_root), target, _readonly(options, text))


def _readonly(options: str, text: str) -> bool:
    words = [word for word in options.split(",") if word]
    unknown = [word for word in words if word != "ro" and word not in _IGNORED]
    if unknown:
        raise UsageError(f"invalid mode {unknown[0]!r} in volume specification {text!r}")
    return "ro" in words


def _source(source: str, cwd: str, store_root: str) -> str:
    if source.startswith(("/", "./", "../", "~")) or source in (".", ".."):
        path = os.path.normpath(os.path.join(cwd, source))
        if not os.path.lexists(path):
            with os_errors(f"create {path}"):
                os.makedirs(path)
        return path
    if not is_name(source):
        raise UsageError(
            f"{source!r} includes invalid characters for a volume name",
            hint="a host path is absolute or begins with ./",
        )
    return make(store_root, source)


def parse_tmpfs(text: str) -> Temporary:
    """`/PATH[:OPTIONS]`, options from a list. Raises UsageError."""
    target, _, options = text.partition(":")
    words = tuple(word for word in options.split(",") if word)
    for word in words:
        key, equals, value = word.partition("=")
        good = word in _TMPFS or (key in _TMPFS_VALUES and equals and value.isalnum())
        if not good:
            raise UsageError(f"invalid tmpfs option {word!r}")
    if words and not any(word.startswith("mode=") for word in words):
        words += ("mode=1777",)
    return Temporary(target, words)


def parse_mount(text: str, cwd: str, store_root: str) -> Volume | Temporary:
    """docker's `--mount type=bind|volume|tmpfs,source=…,target=…,readonly`. Raises UsageError."""
    fields = dict(item.partition("=")[::2] for item in text.split(","))
    kind = fields.get("type", "volume")
    target = fields.get("target") or fields.get("destination") or fields.get("dst") or ""
    source = fields.get("source") or fields.get("src") or ""
    if kind not in ("bind", "volume", "tmpfs") or not target or (kind != "tmpfs" and not source):
        raise UsageError(f"invalid mount {text!r}", hint="expected type=bind,source=/PATH,target=/PATH")
    readonly = any(fields.get(key, "no") in ("", "true", "1") for key in ("readonly", "ro"))
    if kind == "tmpfs":
        size = f",size={fields['tmpfs-size']}" if "tmpfs-size" in fields else ""
        return parse_tmpfs(f"{target}:mode={fields.get('tmpfs-mode', '1777')}{size}")
    if kind == "volume":
        return Volume(_source(source, cwd, store_root), target, readonly)
    path = os.path.normpath(os.path.join(cwd, source))
    if not os.path.exists(path):
        raise UsageError(f"bind source path does not exist: {path}")
    return Volume(path, target, readonly)
