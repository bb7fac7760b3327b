"""`nacre inspect`: everything known of images and containers, in docker's JSON."""

from __future__ import annotations

from ..words.errors import NotFound
from ..words.reference import Reference
from .each import inspect_each
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..images.image import Image
    from ..stores.containers import ContainerRow
    from .context import Context
    from .options import Args

_NEVER = "0001-01-01T00:00:00Z"


def run(context: Context, args: Args) -> int:
    """Print what is found; name what is not, and end with 1 then. A container wins over an image."""
    kind = args.type or {"image inspect": "image", "container inspect": "container"}.get(args.command, "")
    return inspect_each(
        context, args.positionals, args.format, lambda name: _document(context, name, kind, args.size)
    )


def _document(context: Context, name: str, kind: str, size: bool) -> dict[str, Any]:
    from ..images.image import find
    from ..services.containers import Containers

    if kind != "image":
        try:
            return container_document(context, Containers(context.store).get(name), size)
        except NotFound:
            if kind:
                raise NotFound(f"No such container: {name}") from None
    try:
        return image_document(find(context.store, name))
    except NotFound:
        if kind:
            raise
        raise NotFound(f"No such object: {name}") from None


def image_document(image: Image) -> dict[str, Any]:
    """An image as `docker image inspect` shows it."""
    from .images import size_of

    config, names = image.config, [Reference.parse(name) for name in image.names]
    document = {
        "Id": str(image.id),
        "RepoTags": [name.familiar for name in names if name.tag],
        "RepoDigests": repo_digests(image, names),
        "Parent": "",
        "Comment": config.raw.get("comment") or _last_comment(image),
        "Created": config.created,
        "DockerVersion": config.raw.get("docker_version") or "",
        "Author": config.raw.get("author") or "",
        "Config": dict(config.run),
        "Architecture": config.platform.architecture,
        "Os": config.platform.os,
        "Size": size_of(image),
        "GraphDriver": {"Data": None, "Name": image.store.trees.name},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": _tagged(image)},
        "Descriptor": image.descriptor.to_json(),
    }
    if config.platform.variant:
        document["Variant"] = config.platform.variant
    return document


def repo_digests(image: Image, names: list[Reference]) -> list[str]:
    """`name@digest` for each repository that is known to have the image, by a pull or a push."""
    known = set(image.store.layers.sources(image.id))
    there = {n.familiar_name for n in names if n.digest is not None or n.name in known}
    return sorted(f"{name}@{image.digest}" for name in there)


def _last_comment(image: Image) -> str:
    history = image.config.history
    return str(history[-1].get("comment") or "") if history else ""


def _tagged(image: Image) -> str:
    times = [ref.updated for ref in image.store.refs.list() if ref.descriptor.digest == image.digest]
    return _time(max(times, default=0.0))


def _time(seconds: float) -> str:
    from time import gmtime, strftime

    if not seconds:
        return _NEVER
    fraction = f"{seconds % 1:.9f}"[1:]
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds)) + fraction + "Z"


def container_document(context: Context, row: ContainerRow, size: bool = False) -> dict[str, Any]:
    """A container as `docker container inspect` shows it, as far as nacre knows it."""
    from json import loads

    kept = loads(row.config_json)
    process = kept.get("config", {}).get("process", {})
    args = process.get("args") or [""]
    document = {
        "Id": row.id,
        "Created": _time(row.created),
        "Path": args[0],
        "Args": args[1:],
        "State": _state(row),
        "Image": kept.get("image_id") or row.image,
        "Name": f"/{row.name}",
        "Driver": context.store.trees.name,
        "Platform": "linux",
        "Mounts": _mounts(kept),
        "Config": _settings(row, kept, process),
        "HostConfig": _host_settings(row, kept),
        "NetworkSettings": {"Networks": {kept.get("network") or "none": {}}},
    }
    if size:
        from ..ground.files import content_size

        active = context.store.trees.active(row.id)
        document["SizeRw"] = content_size(active.upper) if active else 0
    return document


def _mounts(kept: dict[str, Any]) -> list[dict[str, Any]]:
    """What the user bound into the container."""
    named = set(kept.get("volumes") or ())
    return [
        {
            "Type": "bind",
            "Source": mount["source"],
            "Destination": mount["destination"],
            "Mode": "ro" if "ro" in mount.get("options", ()) else "",
            "RW": "ro" not in mount.get("options", ()),
        }
        for mount in kept.get("config", {}).get("mounts", ())
        if mount.get("source") in named
    ]


def _settings(row: ContainerRow, kept: dict[str, Any], process: dict[str, Any]) -> dict[str, Any]:
    user = process.get("user", {})
    return {
        "Hostname": kept.get("config", {}).get("hostname", ""),
        "User": user.get("username") or "",
        "Tty": bool(kept.get("tty")),
        "OpenStdin": bool(kept.get("interactive")),
        "Env": process.get("env") or [],
        "Cmd": process.get("args") or [],
        "Image": row.image_ref,
        "WorkingDir": process.get("cwd") or "/",
        "Labels": kept.get("labels") or {},
        "ExposedPorts": {port: {} for port in kept.get("ports") or ()},
    }


def _host_settings(row: ContainerRow, kept: dict[str, Any]) -> dict[str, Any]:
    mounts = [f"{m['Source']}:{m['Destination']}" + (":ro" * (not m["RW"])) for m in _mounts(kept)]
    return {
        "AutoRemove": row.auto_remove,
        "Binds": mounts or None,
        "NetworkMode": kept.get("network") or "none",
        "ReadonlyRootfs": bool(kept.get("config", {}).get("root", {}).get("readonly")),
        "Runtime": kept.get("runtime") or "builtin",
    }


def _state(row: ContainerRow) -> dict[str, Any]:
    return {
        "Status": row.state,
        "Running": row.state == "running",
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": row.state == "dead",
        "Pid": row.pid if row.state == "running" else 0,
        "ExitCode": row.exit_code,
        "Error": "",
        "StartedAt": _time(row.started),
        "FinishedAt": _time(row.finished),
    }


COMMAND = Command(
    arguments="NAME|ID [NAME|ID...]",
    run=run,
    options=(
        text("-f, --format", "Format output: 'json' or a Go template"),
        flag("-s, --size", "Display total file sizes if the type is container"),
        text("--type", "Only inspect objects of the given type", choices=("", "container", "image")),
    ),
)
