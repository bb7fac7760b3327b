"""What was asked for a container, as far as its runtime config does not show it: kept for `inspect`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...images.runtime import RunOptions
    from .service import Request


def asked(request: Request, options: RunOptions) -> dict[str, Any]:
    """docker's names for it; what is not there was left to the image, or to nacre."""
    image = request.image.config
    own = options.entrypoint is not None
    found = {
        "Entrypoint": list(options.entrypoint or ()) if own else image.entrypoint,
        "Cmd": list(options.command) if own or options.command else image.cmd,
        "User": options.user or image.user,
        "StopSignal": request.stop_signal or image.run.get("StopSignal"),
        "Volumes": image.run.get("Volumes"),
        "Healthcheck": image.run.get("Healthcheck"),
        "OnBuild": image.run.get("OnBuild"),
        "Shell": image.run.get("Shell"),
        "CapAdd": list(options.cap_add),
        "CapDrop": list(options.cap_drop),
        "Dns": list(request.dns),
        "ExtraHosts": list(request.hosts),
        "Tmpfs": {mount.target: ",".join(mount.options) for mount in options.temporary},
        "SecurityOpt": _security(options),
        "Devices": [device.path for device in options.devices],
        "Privileged": options.privileged,
        "Init": options.init or None,
        "ShmSize": options.shm_size,
    }
    return {name: value for name, value in found.items() if value}


def _security(options: RunOptions) -> list[str]:
    seccomp = [] if options.seccomp else ["seccomp=unconfined"]
    return seccomp + (["no-new-privileges"] if options.no_new_privileges else [])
