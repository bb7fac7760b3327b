"""What an OCI runtime config says of the program itself, as operations. Pure.

The first program of a container and one that joins it have this in common. Words of our own: see `plan`.
"""

from __future__ import annotations

from .capabilities import DEFAULT_BITS, bits
from .identity import Account, Confine, Execute, WorkingFolder
from .users import User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .room import Operation


def shares_processes(config: Mapping[str, Any]) -> bool:
    """Whether no pid namespace of its own ends what a program leaves behind."""
    kinds = [each for each in config["linux"]["namespaces"] if each["type"] == "pid"]
    return not kinds or bool(kinds[0].get("path"))


def is_root(config: Mapping[str, Any]) -> bool:
    """Whether the program is meant to run as user 0 here, as far as the config itself says."""
    user = config["process"]["user"]
    own_users = config["linux"].get("uidMappings")
    return user.get("username", "").partition(":")[0] in ("", "0", "root") and not (
        user.get("uid") or own_users
    )


def execute(process: Mapping[str, Any], *, watched: bool = False) -> Execute:
    """The program itself. `init` in a process is our own word."""
    program = tuple(process["args"]), tuple(process.get("env") or ())
    if watched:
        from .watcher import ExecuteWatched

        return ExecuteWatched(*program)
    if not process.get("init"):
        return Execute(*program)
    from .init import ExecuteUnderInit

    return ExecuteUnderInit(*program)


def working_folder(process: Mapping[str, Any]) -> WorkingFolder:
    """Where it starts. `existing` in a process is our own word: one more program makes no folder."""
    return WorkingFolder(process.get("cwd") or "/", bool(process.get("existing")))


def account(user: Mapping[str, Any]) -> Account:
    """Whom it runs as."""
    if "username" in user:
        return Account(user["username"], groups=tuple(user.get("groups") or ()))
    groups = tuple(user.get("additionalGids") or ())
    return Account(known=User(user.get("uid", 0), user.get("gid", 0), groups or (user.get("gid", 0),)))


def oom_score(process: Mapping[str, Any]) -> list[Operation]:
    """To be done first, if at all."""
    if process.get("oomScoreAdj") is None:
        return []
    from .tuning import OomScore

    return [OomScore(process["oomScoreAdj"])]


def resource_limits(process: Mapping[str, Any]) -> list[Operation]:
    """To be set before privileges go."""
    if not process.get("rlimits"):
        return []
    from .tuning import ResourceLimits

    limits = process["rlimits"]
    return [ResourceLimits(tuple((each["type"], each["soft"], each["hard"]) for each in limits))]


def hold_users(system: Mapping[str, Any]) -> list[Operation]:
    """For a user namespace of its own: to be done while the host is there."""
    if not system.get("uidMappings"):
        return []
    from .userns import own_users

    found = own_users(system)
    return [found] if found else []


def enter_users(held: list[Operation]) -> list[Operation]:
    """And before it is confined."""
    if not held:
        return []
    from .userns import EnterUsers

    return [EnterUsers()]


def apparmor(process: Mapping[str, Any]) -> list[Operation]:
    """The profile of the program, to be chosen while /proc can still be written to."""
    if not process.get("apparmorProfile"):
        return []
    from .apparmor import ChangeProfile

    return [ChangeProfile(process["apparmorProfile"])]


def confine(process: Mapping[str, Any], system: Mapping[str, Any], machine: str) -> Confine:
    """What it may do. Raises Unsupported, UsageError."""
    capabilities = bits((process.get("capabilities") or {}).get("bounding", ()))
    wanted = system.get("seccomp")
    found = Confine(capabilities, b"", bool(process.get("noNewPrivileges")))
    if wanted in (None, "default"):
        return found.replace(filter=_filter(machine, capabilities)) if wanted else found
    from .document import compiled

    code, flags = compiled(wanted, machine)
    return found.replace(filter=code, flags=flags, late=True)


def _filter(machine: str, capabilities: int) -> bytes:
    if capabilities == DEFAULT_BITS:
        from binascii import a2b_base64

        from .filters import FILTERS

        if machine in FILTERS:
            return a2b_base64(FILTERS[machine])
    from .seccomp import program

    return program(machine, capabilities)
