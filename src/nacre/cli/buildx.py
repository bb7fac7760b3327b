"""`nacre buildx`: what buildx says of builders. There is one, this machine, which needs no set-up."""

from __future__ import annotations

from .. import __version__
from ..words.errors import Unsupported
from .options import Command, flag, many, text
from .output import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .context import Context
    from .options import Args

_NAME, _DRIVER = "default", "nacre"
_HEAD = ("NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS")
_HERE = ("", "docker-container", "docker")


def _nothing_to_do(context: Context, args: Args, verb: str) -> None:
    """One line that says what was asked for, and that it is of no effect."""
    given = [f"--{name.replace('_', '-')}" for name in sorted(args.given - {"name", "use", "bootstrap"})]
    flags = f", and {', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect" if given else ""
    context.warn(f"nothing to {verb}: there is one builder, which needs no daemon{flags}")


def _create(context: Context, args: Args) -> int:
    if args.driver not in _HERE or args.positionals:
        where = args.positionals[0] if args.positionals else f"--driver {args.driver}"
        raise Unsupported(f"{where}: a builder elsewhere is not supported", hint="builds run on this machine")
    _nothing_to_do(context, args, "create")
    context.print(args.name or _NAME)
    return 0


def _use(context: Context, args: Args) -> int:
    _nothing_to_do(context, args, "switch")
    return 0


def _rm(context: Context, args: Args) -> int:
    _nothing_to_do(context, args, "remove")
    return 0


def _stop(context: Context, args: Args) -> int:
    _nothing_to_do(context, args, "stop")
    return 0


def _inspect(context: Context, args: Args) -> int:
    name = args.positionals[0] if args.positionals else args.builder or _NAME
    platforms = ", ".join(map(str, context.engine.system.platforms()))
    for row in (
        f"Name:   {name}", f"Driver: {_DRIVER}", "", "Nodes:", f"Name:             {_NAME}",
        f"Endpoint:         {_NAME}", "Status:           running",
        f"BuildKit version: {_DRIVER} {__version__}", f"Platforms:        {platforms}",
    ):  # fmt: skip
        context.print(row)
    return 0


def _ls(context: Context, args: Args) -> int:
    platforms = [str(platform) for platform in context.engine.system.platforms()]
    if args.format and args.format != "table":
        listing(context, args, [_document(platforms)], ())
        return 0
    rows = [
        (f"{_NAME}*", _DRIVER, "", "", ""),
        (rf" \_ {_NAME}", rf" \_ {_NAME}", "running", __version__, ", ".join(platforms)),
    ]
    from .output import table

    table(context, _HEAD, rows)
    return 0


def _document(platforms: Sequence[str]) -> dict[str, Any]:
    node = {
        "Name": _NAME, "Endpoint": _NAME, "Status": "running", "Version": __version__,
        "Platforms": list(platforms),
    }  # fmt: skip
    return {
        "Name": _NAME, "Driver": _DRIVER, "DriverEndpoint": _DRIVER, "Current": True, "Dynamic": False,
        "Status": "running", "Platforms": ", ".join(platforms), "Nodes": [node],
    }  # fmt: skip


def _version(context: Context, args: Args) -> int:
    context.print(f"buildx of nacre v{__version__}")
    return 0


NODE = "default/default"
"""The builder and its node, as buildx puts them before the name of a build."""
BUILDER = text("--builder", "Accepted: there is one builder", hidden=True)
_ONE = "There is one builder, this machine. The command says so and succeeds."

CREATE = Command(
    "[CONTEXT|ENDPOINT]",
    run=_create,
    options=(
        flag("--append", "Accepted: there is one builder"),
        flag("--bootstrap", "Accepted: there is nothing to boot"),
        text("--buildkitd-config", "Ignored with a line: there is no daemon"),
        text("--buildkitd-flags", "Ignored with a line: there is no daemon"),
        text("--config", "Ignored with a line: there is no daemon", hidden=True),
        text("--driver", "Driver to use (docker-container, docker)"),
        many("--driver-opt", "Ignored with a line: there is no daemon", type="stringArray"),
        flag("--leave", "Accepted: there is one builder"),
        text("--name", "Builder instance name, which is printed"),
        text("--node", "Ignored with a line: there is one builder"),
        many("--platform", "Ignored with a line: see nacre buildx inspect", type="stringArray"),
        flag("--use", "Accepted: there is one builder"),
    ),
    store=False,
    details=_ONE,
)
USE = Command(
    "[NAME]",
    run=_use,
    options=(
        BUILDER,
        flag("--default", "Accepted: there is one builder"),
        flag("--global", "Accepted: there is one builder"),
    ),
    store=False,
    details=_ONE,
)
RM = Command(
    "[NAME...]",
    run=_rm,
    options=(
        BUILDER,
        flag("--all-inactive", "Accepted: there is one builder"),
        flag("-f, --force", "Accepted: there is one builder"),
        flag("--keep-daemon", "Accepted: there is no daemon"),
        flag("--keep-state", "Accepted: the build cache stays"),
    ),
    store=False,
    details=_ONE,
)
STOP = Command("[NAME]", run=_stop, options=(BUILDER,), store=False, details=_ONE)
INSPECT = Command(
    "[NAME]",
    run=_inspect,
    options=(BUILDER, flag("--bootstrap", "Accepted: there is nothing to boot")),
    store=False,
    details="Platforms are those whose programs this machine executes, also by an emulator.",
)
LS = Command(
    "",
    run=_ls,
    options=(
        text("--format", "Format the output: table, json or a Go template", default="table"),
        flag("--no-trunc", "Accepted: nothing is truncated"),
    ),
    store=False,
)
VERSION = Command("", run=_version, store=False)
