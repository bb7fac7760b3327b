"""What listings and documents show of a container, without the templates that documents need."""

from __future__ import annotations

from ..words.mount import PROPAGATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..stores.containers import ContainerRow
    from .context import Context


def state_of(context: Context, row: ContainerRow) -> str:
    """docker's word for what a container does now."""
    return "paused" if context.engine.containers.is_paused(row) else row.state


def health_of(context: Context, row: ContainerRow) -> str:
    """starting, healthy or unhealthy; "" without a check."""
    known = context.engine.containers.health(row)
    return str(known["Status"]) if known else ""


def mounts_of(kept: Mapping[str, Any], root: str) -> list[dict[str, Any]]:
    """What the user mounted: folders and files of the host, volumes of the store, by target."""
    sources = set(kept.get("volumes") or ())
    there = [mount for mount in kept.get("config", {}).get("mounts", ()) if mount.get("source") in sources]
    return [_mount(mount, root) for mount in sorted(there, key=lambda one: str(one["destination"]))]


def _mount(mount: Mapping[str, Any], root: str) -> dict[str, Any]:
    from ..stores.volumes import named_by

    source, options = mount["source"], mount.get("options", ())
    read_only = "ro" in options
    found = {"Source": source, "Destination": mount["destination"], "RW": not read_only}
    if name := mount.get("name") or named_by(root, source):
        mode = "" if is_anonymous({"Name": name}) else "ro" if read_only else "z"
        return found | {"Type": "volume", "Name": name, "Driver": "local", "Mode": mode}
    kept = [option for option in options if option in PROPAGATIONS]
    more = {"Mode": "ro" if read_only else "", "Propagation": kept[0] if kept else "rprivate"}
    return found | {"Type": mount["type"], **({"Name": source} if mount["type"] == "image" else {})} | more


def is_anonymous(mount: Mapping[str, Any]) -> bool:
    """Whether it is a volume whose name nobody chose."""
    name = str(mount.get("Name", ""))
    return len(name) == 64 and set(name) <= set("0123456789abcdef")


def networks_column(kept: Mapping[str, Any]) -> str:
    """The names of a container's networks."""
    if "endpoints" in kept:
        return ",".join(each["network"].partition(":")[0] for each in kept["endpoints"])
    return str(kept.get("network") or "host")


def ports_column(kept: Mapping[str, Any], got: Mapping[str, Any]) -> str:
    """As the column PORTS shows them. Source: docker/cli cli/command/formatter, DisplayablePorts."""
    single: list[tuple[int, str, int, str]] = []
    for text, places in ports(kept, got).items() if got else ():
        number, _, protocol = text.partition("/")
        single += [(int(number), place["HostIp"], int(place["HostPort"]), protocol) for place in places or ()]
        single += [] if places else [(int(number), "", 0, protocol)]
    runs: list[tuple[str, str, list[int]]] = []
    others: list[str] = []
    for inside, host, outside, protocol in sorted(single):
        if host and outside != inside:
            others.append(f"{_joined(host, str(outside))}->{inside}/{protocol}")
            continue
        run = next((run for run in reversed(runs) if run[:2] == (host, protocol)), None)
        if run and run[2][-1] == inside - 1:
            run[2].append(inside)
        else:
            runs.append((host, protocol, [inside]))
    return ", ".join([*(_run(*run) for run in runs), *others])


def _run(host: str, protocol: str, numbers: list[int]) -> str:
    shown = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
    return f"{_joined(host, shown)}->{shown}/{protocol}" if host else f"{shown}/{protocol}"


def _joined(host: str, port: str) -> str:
    from ..words.addresses import in_brackets

    return f"{in_brackets(host)}:{port}"


def ports(kept: Mapping[str, Any], got: Mapping[str, Any]) -> dict[str, list[dict[str, str]] | None]:
    """Each port that is published or exposed, and where."""
    from ..grammars.ports import single_ports

    found: dict[str, list[dict[str, str]] | None] = {
        port: None for text in kept.get("ports") or () for port in single_ports(text)
    }
    for port, places in got.get("ports", {}).items():
        found[port] = [{"HostIp": host, "HostPort": str(number)} for host, number in places]
    return found
