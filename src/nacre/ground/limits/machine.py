"""What this machine has to share out."""

from __future__ import annotations

import os
import stat

from ...words.errors import UsageError
from ...words.value import Value
from .hierarchies import read

_CPU, _NODE = "/sys/devices/system/cpu", "/sys/devices/system/node"


class Machine(Value):
    """The number of processors, and the lists of processors and memory nodes that the kernel shows."""

    processors: int
    cpus: str
    mems: str


def machine() -> Machine:
    """The machine that this runs on."""
    count = len(os.sched_getaffinity(0))
    return Machine(
        count, read(_CPU, "online").strip() or f"0-{count - 1}", read(_NODE, "online").strip() or "0"
    )


def disk_numbers(path: str) -> tuple[int, int]:
    """Major and minor number of a disk. Raises UsageError."""
    try:
        info = os.stat(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot limit the device {path}: {why.lower()}") from None
    if not stat.S_ISBLK(info.st_mode):
        raise UsageError(f"cannot limit the device {path}: it is not a block device")
    return os.major(info.st_rdev), os.minor(info.st_rdev)
