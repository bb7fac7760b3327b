"""The state of a container that is being set up, and how its paths are opened."""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from .. import linux
from ..sandbox.room import Room

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from ..fork import ChildReport

_PROC = 0x9FA0
_OVER_PROC = frozenset(
    f"/proc/{name}" for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
        "net/dev", "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
    )
)  # fmt: skip
"""What may be covered in /proc, as runc has it: programs such as lxcfs do that."""


class BundleRoom(Room):
    """As `Room`; here the root stands at its place on the host until it takes the host's.

    `rootfs` is the root's place, `label` the SELinux label of mounts, `state` what hooks are told. `report`,
    `gate`, `listener` and `channel` are those of `process`; `starter` is who hears that a start failed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rootfs = self.label = ""
        self.state: dict[str, Any] = {}
        self.report: ChildReport | None = None
        self.gate = self.listener = self.channel = -1
        self.starter: _socket.socket | None = None

    def place(self, path: str, *, folder: bool) -> int:
        """A descriptor of a place to mount on, made if it does not exist; links stay in the root.

        Nothing is mounted in /proc but over a few files (runc CVE-2019-16884, CVE-2025-31133).
        """
        fd = self._open_or_make(path, folder)
        problem = ""
        if stat.S_ISDIR(os.fstat(fd).st_mode) != folder:
            problem = "it is a file, not a directory" if folder else "it is a directory, not a file"
        elif linux.file_system(fd) == _PROC and os.path.normpath(path) not in _OVER_PROC:
            problem = "it is in /proc"
        if problem:
            os.close(fd)
            raise SandboxError(f"cannot mount at {path}: {problem}")
        return fd

    def own(self, path: str) -> int:
        """A descriptor of a folder for a file system of the kernel, which is no link."""
        self.plain_folder(path)
        return self.open(path, os.O_PATH | os.O_DIRECTORY, linux.RESOLVE_NO_SYMLINKS)


def name_of(fd: int) -> str:
    """A path that leads to a descriptor, for system calls that take paths only."""
    return f"/proc/self/fd/{fd}"
