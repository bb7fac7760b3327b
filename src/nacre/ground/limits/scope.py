"""A group of version 2 from systemd: this program is moved into a scope that is delegated to it.

systemd removes the scope with its last process, also after `kill -9`. Source: org.freedesktop.systemd1(5),
systemd.scope(5), "Control Group APIs and Delegation".
"""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from .. import userns

_SYSTEM_BUS, _USER_BUS = "/run/dbus/system_bus_socket", "/run/user/{}/bus"
_BOOTED = "/run/systemd/system"
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_MATCH = f"type='signal',interface='{_MANAGER[2]}',member='JobRemoved'"


def bus() -> str:
    """The socket of the bus on which systemd listens for us; "" where there is none."""
    if not os.path.isdir(_BOOTED):
        return ""
    uid = outer_uid()
    path = _USER_BUS.format(uid) if uid else _SYSTEM_BUS
    return path if os.path.exists(path) else ""


def outer_uid() -> int:
    """Our user id as those outside of our user namespace see it."""
    uid = os.geteuid()
    ranges = userns.current().uids
    return next(
        (outside + uid - first for first, outside, count in ranges if first <= uid < first + count), uid
    )


def enter(parent: str = "", path: str = "") -> str:
    """Have systemd move this process into a new scope, within the slice `parent`; the name of the scope.

    `path` is the socket of the bus, if not that of `bus`. Raises SandboxError.
    """
    from .dbus import BUS, Bus

    name = f"nacre-{os.urandom(6).hex()}.scope"
    try:
        with Bus(path or bus(), outer_uid()) as connection:
            connection.call(*_MANAGER, "Subscribe")
            connection.call(*BUS, "AddMatch", "s", _MATCH)
            (job,) = connection.call(
                *_MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", _properties(parent), []
            )
            result = ""
            while not result:
                _, removed, _, result = connection.wait("JobRemoved")
                result = result if removed == job else ""
    except (OSError, ValueError) as error:
        raise SandboxError(f"systemd makes no scope for the container: {error}") from None
    if result != "done":
        raise SandboxError(f"systemd makes no scope for the container: the job ended with {result!r}")
    return name


def attach(unit: str, pid: int, group: str, path: str = "") -> None:
    """Have systemd move a process into a group beneath a scope. Raises SandboxError."""
    from .dbus import Bus

    try:
        with Bus(path or bus(), outer_uid()) as connection:
            connection.call(*_MANAGER, "AttachProcessesToUnit", "ssau", unit, f"/{group}", [pid])
    except OSError as error:
        raise SandboxError(f"systemd does not move the program into {unit}: {error}") from None


def _properties(parent: str) -> list[tuple[str, tuple[str, object]]]:
    found: list[tuple[str, tuple[str, object]]] = [
        ("Description", ("s", "A container of nacre")),
        ("PIDs", ("au", [os.getpid()])),
        ("Delegate", ("b", 1)),
        ("CollectMode", ("s", "inactive-or-failed")),
    ]
    return found + ([("Slice", ("s", parent))] if parent else [])
