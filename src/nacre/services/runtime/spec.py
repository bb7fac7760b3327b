"""What the runtime can do, and a first config. Source: OCI runtime-spec features.md, runc-spec(8)."""

from __future__ import annotations

from ...grammars.runtimespec.config import HOOKS
from ...grammars.seccomp import ACTIONS, FLAGS, OPERATORS
from ...ground.bundle.namespaces import KINDS
from ...ground.bundle.options import NAMES
from ...ground.sandbox.capabilities import ALL
from ...ground.sandbox.document import ARCHITECTURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OLDEST, NEWEST = "1.0.0", "1.2.0"
_GRANTED = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def features() -> dict[str, Any]:
    """The features structure of the runtime-spec."""
    return {
        "ociVersionMin": OLDEST, "ociVersionMax": NEWEST, "hooks": list(HOOKS), "mountOptions": list(NAMES),
        "linux": {
            "namespaces": sorted(KINDS), "capabilities": list(ALL),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": True, "actions": [f"SCMP_ACT_{name}" for name in sorted(ACTIONS)],
                "operators": [f"SCMP_CMP_{name}" for name in sorted(OPERATORS)],
                "archs": sorted(ARCHITECTURES.values()),
                "knownFlags": list(FLAGS), "supportedFlags": list(FLAGS),
            },
            "apparmor": {"enabled": True}, "selinux": {"enabled": True}, "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": False}}, "netDevices": {"enabled": False},
        },
    }  # fmt: skip


def specification(rootless: tuple[int, int] | None = None) -> dict[str, Any]:
    """A config that runs a shell; `rootless` are the ids of an ordinary user, who gets a user namespace."""
    namespaces = [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")]
    system: dict[str, Any] = {
        "namespaces": namespaces,
        "maskedPaths": [*_MASKED],
        "readonlyPaths": [*_READ_ONLY],
    }
    if rootless:
        namespaces.append({"type": "user"})
        for name, number in zip(("uidMappings", "gidMappings"), rootless, strict=True):
            system[name] = [{"containerID": 0, "hostID": number, "size": 1}]
    else:
        system["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    return {
        "ociVersion": NEWEST, "process": _shell(), "root": {"path": "rootfs", "readonly": True},
        "hostname": "nacre", "mounts": _mounts(rootless), "linux": system,
    }  # fmt: skip


def _shell() -> dict[str, Any]:
    return {
        "terminal": True, "user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/", "noNewPrivileges": True,
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "capabilities": {name: [*_GRANTED] for name in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
    }  # fmt: skip


def _mounts(rootless: tuple[int, int] | None) -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    found: Any = (
        ("/proc", "proc", []), ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", terminals if rootless else [*terminals, "gid=5"]),
        ("/dev/shm", "tmpfs", [*safe, "mode=1777", "size=65536k"]), ("/dev/mqueue", "mqueue", safe),
        ("/sys", "sysfs", [*safe, "ro"]), ("/sys/fs/cgroup", "cgroup", [*safe, "relatime", "ro"]),
    )  # fmt: skip
    return [
        {"destination": place, "type": kind, "source": kind, "options": options}
        for place, kind, options in found
    ]
