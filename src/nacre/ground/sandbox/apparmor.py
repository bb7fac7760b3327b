"""AppArmor: the profile that a program gets when it is executed.

Source: linux Documentation/admin-guide/LSM/apparmor.rst, apparmor(7), aa_change_onexec(3).
"""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from .. import linux
from .room import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .room import Room

_ENABLED = "/sys/module/apparmor/parameters/enabled"
_PLACES = ("thread-self/attr/apparmor/exec", "thread-self/attr/exec")
_PROC_INO, _PROC_SUPER_MAGIC = 1, 0x9FA0  # the root of a tmpfs has that number, too


def is_enabled() -> bool:
    """Whether this kernel confines programs by AppArmor."""
    try:
        with open(_ENABLED, encoding="ascii") as stream:
            return stream.read(1) == "Y"
    except OSError:
        return False


class ChangeProfile(Operation):
    """The next program has `profile`; `unconfined` is one.

    The file is opened beneath the root of a real /proc and on no other mount, so nothing that is mounted over
    it takes the write (runc CVE-2019-16884, CVE-2025-52881).
    """

    profile: str

    def apply(self, room: Room) -> None:  # noqa: D102
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if linux.file_system(proc) != _PROC_SUPER_MAGIC or os.fstat(proc).st_ino != _PROC_INO:
                raise SandboxError("/proc of the container is no proc file system")
            _write(proc, f"exec {self.profile}".encode())
        except OSError as error:
            raise SandboxError(
                f"cannot apply the AppArmor profile {self.profile}: {error.strerror}"
            ) from None
        finally:
            os.close(proc)

    def __str__(self) -> str:
        return f"AppArmor profile {self.profile}"


def _write(proc: int, command: bytes) -> None:
    for place in _PLACES:
        try:
            fd = linux.openat2(
                proc, place, os.O_WRONLY, 0, linux.RESOLVE_NO_XDEV | linux.RESOLVE_NO_MAGICLINKS
            )
        except FileNotFoundError:
            continue
        try:
            os.write(fd, command)
        finally:
            os.close(fd)
        return
    raise FileNotFoundError(2, "there is no AppArmor here")
