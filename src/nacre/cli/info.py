"""`nacre info`: this machine, this store, and why they are used the way they are."""

from __future__ import annotations

import os

from ..words.lines import lines
from .options import Command, text
from .output import human_size, inspect_one, print_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine.system import Info
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print what there is."""
    fields = {**_store(context), **_machine(), **_user(context)}
    if args.format:
        from .documents.system import info_document

        inspect_one(context, info_document(fields, context.proxies(), context.debug), args.format)
        return 0
    fields["MemTotal"] = human_size(fields["MemTotal"], 4)
    print_fields(context, "", fields)
    return 0


def _store(context: Context) -> dict[str, Any]:
    info = context.engine.system.info()
    return {
        "Version": info.version,
        "Root": info.root,
        "Driver": info.driver,
        "DriverReason": info.driver_reason,
        "LayerBlobs": info.layer_blobs,
        "Lazy": _lazy(info),
        "Containers": info.containers,
        "ContainersRunning": info.running,
        "ContainersStopped": info.containers - info.running,
        "Images": info.images,
    }


def _lazy(info: Info) -> str:
    if info.lazy:
        return f"no; {info.lazy}"
    return "yes (FUSE)" if info.lazy_by_fuse else "yes"


def _machine() -> dict[str, Any]:
    system = os.uname()
    return {
        "Name": system.nodename,
        "OperatingSystem": _distribution(),
        "OSType": "linux",
        "Architecture": system.machine,
        "KernelVersion": system.release,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _user(context: Context) -> dict[str, Any]:
    mapping = context.engine.mapping
    rootless = context.uid != 0
    ids = sum(count for _, _, count in mapping.uids) if mapping and rootless else 0
    single = "only your own, so owners are kept beside the files; add a range to /etc/subuid and /etc/subgid"
    return {"Rootless": rootless} | ({"MappedIDs": single if ids == 1 else ids} if ids else {})


def _distribution() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            content = file.read(1 << 16)
    except OSError:
        return "Linux"
    named = (line.partition("=") for line in lines(content))
    return next((value.strip("\"'") for name, _, value in named if name == "PRETTY_NAME"), "Linux")


COMMAND = Command(
    arguments="", run=run, options=(text("-f, --format", "Format output: 'json' or a Go template"),)
)
