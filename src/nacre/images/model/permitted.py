"""Whether limits can be had here: asked for when something is made, so that nobody counts on them in vain."""

from __future__ import annotations

from ...ground import userns
from ...ground.limits.groups import refused
from ...ground.limits.machine import disk_numbers, machine
from .limits import checked, resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...ground.limits.groups import MissingLimit
    from .limits import Limits


def permitted(limits: Limits, warn: Callable[[str], object], runtime: str = "builtin") -> Limits:
    """The limits of a new container; each that cannot be had here is told, and tried again at every start.

    Raises UsageError in docker's words, SandboxError for what the kernel refuses.
    """
    limits = checked(limits, machine())
    if limits.oom_kill_disable and not limits.memory:
        warn(
            "WARNING: OOM killer is disabled for the container, but no memory limit is set, this can result "
            "in the system running out of resources."
        )
    if runtime != "builtin" and not userns.is_first():
        warn(f"WARNING: limits ignored: the runtime {runtime} makes no control groups for ordinary users")
        return limits
    tell(limits, refused(resources(limits, disk_numbers), limits.cgroup_parent), warn)
    return limits


def tell(limits: Limits, lost: list[MissingLimit], warn: Callable[[str], object]) -> None:
    """One line for each limit that cannot be had."""
    for option, why in {each.option: each.why for each in lost}.items():
        named = "cpus" if limits.cpus and option in ("cpu-quota", "cpu-period") else option
        if not (option == "memory-swap" and limits.memory_swap == 2 * limits.memory and len(lost) > 1):
            warn(f"WARNING: --{named} ignored: {why}")
