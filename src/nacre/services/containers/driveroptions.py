"""The driver of volumes, `local`, and the options that it has in docker: `type`, `device`, `o` and `size`.

What they ask for is a mount. A folder of the host (`o=bind`) is one that every container can have. The rest
would have to be mounted once, and stay so as long as any container runs that has it; there is no daemon that
could see to that, so it is refused. Source: moby volume/local/local_unix.go.
"""

from __future__ import annotations

import os

from ...words.errors import StoreError, Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_KNOWN = ("type", "o", "device", "size")
_NEEDED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_BIND = frozenset(("bind", "rbind", "rw", "defaults"))


def check_driver(name: str) -> None:
    """Raises Unsupported for another driver than `local`."""
    if name not in ("", "local"):
        raise Unsupported(f"the only volume driver is local, not {name!r}")


def check_options(options: Mapping[str, str]) -> None:
    """Raises UsageError for options that docker has not, Unsupported for those that it has alone."""
    for name in options:
        if name not in _KNOWN:
            raise UsageError(f'invalid option: "{name}"', hint=f"use one of {', '.join(_KNOWN)}")
    for name, needed in _NEEDED.items():
        missing = [other for other in needed if other not in options]
        if name in options and missing:
            raise UsageError(f'missing required option: "{missing[0]}"')
    if "size" in options:
        raise Unsupported("quota size requested but no quota support")
    if options:
        _check_bind(options["type"], options["device"], options.get("o", ""))


def _check_bind(kind: str, device: str, words: str) -> None:
    given = [word for word in words.split(",") if word]
    if kind not in ("none", "bind") or not {"bind", "rbind"} & set(given):
        hint = "--tmpfs or --mount type=tmpfs" if kind == "tmpfs" else ""
        raise Unsupported(
            f"volumes of type {kind!r} are not supported",
            hint=hint or "mount it on the host, and use type=none, o=bind and device=FOLDER",
        )
    unknown = [word for word in given if word not in _BIND]
    if unknown:
        raise Unsupported(
            f"option {unknown[0]!r} of a volume is not supported", hint="say ro where the volume is mounted"
        )
    if not device.startswith("/"):
        raise UsageError(f"the device of a volume must be an absolute path: {device!r}")


def check_device(name: str, options: Mapping[str, str]) -> None:
    """Raises StoreError when the folder that a volume stands for is not there."""
    device = options.get("device")
    if device and not os.path.isdir(device):
        raise StoreError(f"failed to mount local volume {name}: {device} is not a directory")
