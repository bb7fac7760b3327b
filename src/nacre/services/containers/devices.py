"""Devices of the host that a user gives to a container."""

from __future__ import annotations

import os
import stat

from ...images.runtime import Device
from ...words.errors import UsageError

_OWN = frozenset(
    "null zero full random urandom tty console ptmx core fd stdin stdout stderr".split()  # noqa: SIM905
)


def parse_device(text: str) -> Device:
    """`HOST[:CONTAINER[:PERMISSIONS]]`, beneath /dev. Raises UsageError."""
    source, _, rest = text.partition(":")
    target = rest.partition(":")[0] or source
    device = _device(source, target)
    if device is None or not os.path.normpath(target).startswith("/dev/"):
        raise UsageError(f"{source!r} is not a device node", hint="expected /dev/NAME[:/dev/NAME]")
    return device


def all_devices() -> tuple[Device, ...]:
    """Those directly in /dev, for --privileged."""
    found = [
        _device(f"/dev/{name}", f"/dev/{name}") for name in sorted(os.listdir("/dev")) if name not in _OWN
    ]
    return tuple(device for device in found if device)


def _device(source: str, target: str) -> Device | None:
    try:
        info = os.stat(source)
    except OSError:
        return None
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        return None
    major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
    return Device(os.path.normpath(target), kind, major, minor, stat.S_IMODE(info.st_mode))
