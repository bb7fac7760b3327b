"""Capabilities by name. Source: linux include/uapi/linux/capability.h; docker's default set."""

from __future__ import annotations

from ...words.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAMES = tuple(
    """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
    SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
    AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
    PERFMON BPF CHECKPOINT_RESTORE
    """.split()  # noqa: SIM905
)
"""In the order of their numbers, without `CAP_`."""

ALL = tuple("CAP_" + name for name in NAMES)

DEFAULT = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)  # fmt: skip
"""docker's fourteen."""

DEFAULT_BITS = 0xA80425FB
"""`bits(DEFAULT)`, known beforehand."""


CAP_SYS_ADMIN = 1 << 21


def bits(names: Iterable[str]) -> int:
    """The set as a number; names this version does not know are left out."""
    known = {name: number for number, name in enumerate(ALL)}
    total = 0
    for name in names:
        total |= 1 << known[name] if name in known else 0
    return total


def choose(add: Sequence[str], drop: Sequence[str], *, privileged: bool = False) -> tuple[str, ...]:
    """docker's --cap-add and --cap-drop: with or without `CAP_`, any case, ALL. Raises UsageError."""
    added, dropped = {_known(name) for name in add}, {_known(name) for name in drop}
    if privileged or "ALL" in added:
        start: tuple[str, ...] = ALL
    else:
        start = () if "ALL" in dropped else DEFAULT
    dropped -= added
    extra = tuple(sorted(added - {"ALL", *start}))
    return tuple(name for name in start + extra if name not in dropped)


def _known(text: str) -> str:
    name = text.upper()
    full = name if name == "ALL" or name.startswith("CAP_") else "CAP_" + name
    if full != "ALL" and full not in ALL:
        raise UsageError(f"invalid capability: {text!r}")
    return full
