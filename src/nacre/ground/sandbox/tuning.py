"""Settings of the kernel for one container: what its processes may use, and values in /proc/sys.

Source: setrlimit(2), proc(5) for oom_score_adj, OCI runtime-spec config.md and config-linux.md.
"""

from __future__ import annotations

import os
from resource import RLIM_INFINITY, getrlimit, setrlimit

from ...words.errors import SandboxError
from .. import linux
from .room import Operation, Room

_NUMBERS = {
    "cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7, "memlock": 8,
    "as": 9, "locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}  # fmt: skip
_DOMAIN = "kernel.domainname"
_MOST = (1 << 64) - 1


class ResourceLimits(Operation):
    """Limits as (name, soft, hard) of the runtime-spec, set while there are privileges to raise them."""

    limits: tuple[tuple[str, int, int], ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        for name, soft, hard in self.limits:
            short = name.removeprefix("RLIMIT_").lower()
            number = _NUMBERS[short]
            try:
                setrlimit(number, (_value(soft), _value(hard)))
            except (OSError, ValueError):
                most = _shown(getrlimit(number)[1])
                raise SandboxError(
                    f"cannot set the limit {short} to {_shown(hard)}: at most {most} is allowed here"
                ) from None

    def __str__(self) -> str:
        return f"limits: {' '.join(name for name, _, _ in self.limits)}"


def _value(number: int) -> int:
    return RLIM_INFINITY if number >= _MOST else number


def _shown(number: int) -> str:
    return "unlimited" if number in (_MOST, RLIM_INFINITY) else str(number)


class OomScore(Operation):
    """How soon the kernel kills it when memory is short. Done first, while the host's /proc is here."""

    score: int

    def apply(self, room: Room) -> None:  # noqa: D102
        try:
            _write("/proc/self/oom_score_adj", str(self.score))
        except OSError:
            raise SandboxError(
                f"cannot set the OOM score to {self.score}: only root of the machine may lower it"
            ) from None

    def __str__(self) -> str:
        return f"OOM score {self.score}"


class Sysctls(Operation):
    """Values in /proc/sys, by names with dots."""

    values: tuple[tuple[str, str], ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        for name, value in self.values:
            try:
                if name == _DOMAIN:  # of the namespace, whose file belongs to root of the machine
                    linux.setdomainname(value)
                else:
                    _write(f"/proc/sys/{name.replace('.', '/')}", value)
            except OSError as error:
                reason = (error.strerror or "").lower()
                raise SandboxError(f"cannot set sysctl {name} to {value!r}: {reason}") from None

    def __str__(self) -> str:
        return f"sysctls: {' '.join(name for name, _ in self.values)}"


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
