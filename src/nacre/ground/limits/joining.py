"""Entering the groups of a container that runs."""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from . import scope
from .hierarchies import OURS, places, write


def folders(pid: int) -> list[str]:
    """The groups of the process `pid` that have limits. Raises OSError."""
    return [place.folder for place in places(pid) if os.path.basename(place.folder).startswith(OURS)]


def follow(pid: int) -> None:
    """Enter the groups of the process `pid` that have limits. Raises SandboxError."""
    for folder in folders(pid):
        _enter(folder)


def _enter(folder: str) -> None:
    try:
        write(folder, "cgroup.procs", "0")
    except PermissionError as error:
        unit = next((name for name in reversed(folder.split("/")) if name.endswith(".scope")), "")
        if not (unit and scope.bus()):
            raise SandboxError(f"cannot enter the control group {folder}: {error.strerror}") from None
        ours = int(os.readlink("/proc/self"))  # we may be in the pid namespace of the container already
        scope.attach(unit, ours, os.path.basename(folder))
    except OSError as error:
        raise SandboxError(f"cannot enter the control group {folder}: {error.strerror}") from None
