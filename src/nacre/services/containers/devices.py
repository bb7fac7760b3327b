"""Devices of the host that a user gives to a container."""

from __future__ import annotations

import os
import stat

from ...images.model.runtime import Device
from ...words.errors import UsageError

_ACCESS = frozenset("rwm")
_OWN = frozenset(
    "null zero full random urandom tty console ptmx core fd stdin stdout stderr".split()  # noqa: SIM905
)


def parse_device(text: str) -> Device:
    """`HOST[:CONTAINER[:PERMISSIONS]]`, beneath /dev. Raises UsageError."""
    source, _, rest = text.partition(":")
    target, _, access = rest.partition(":")
    if not access and target and set(target) <= _ACCESS:
        target, access = source, target
    if not set(access) <= _ACCESS or len(access) > len(set(access)):
        raise UsageError(f"invalid device mode: {access}", hint="expected letters of rwm")
    device = device_at(source, target or source, access or "rwm")
    if device is None or not device.path.startswith("/dev/"):
        raise UsageError(f"{source!r} is not a device node", hint="expected /dev/NAME[:/dev/NAME]")
    return device


def all_devices() -> tuple[Device, ...]:
    """Those directly in /dev, for --privileged."""
    names = sorted(name for name in os.listdir("/dev") if name not in _OWN)
    found = [device_at(f"/dev/{name}", f"/dev/{name}", "rwm") for name in names]
    return tuple(device for device in found if device)


def device_at(source: str, target: str, access: str) -> Device | None:
    """The node at `source` of this machine; None if there is none."""
    try:
        return device_of(os.stat(source), source, target, access)
    except OSError:
        return None


def device_of(info: os.stat_result, source: str, target: str, access: str) -> Device | None:
    """The node at `source`, whose status is known; None for what is no device."""
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        return None
    major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
    path, mode = os.path.normpath(target), stat.S_IMODE(info.st_mode)
    named = "" if path == source else source
    return Device(path, kind, major, minor, mode, access, info.st_uid, info.st_gid, named)
