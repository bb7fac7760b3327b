"""`nacre port`: where the ports of a container are published."""

from __future__ import annotations

from ..words.addresses import in_brackets
from ..words.errors import NotFound, UsageError
from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """All of them, or those of one port."""
    text, *wanted = args.positionals
    containers = context.engine.containers
    found = containers.reached(containers.get(text)).get("ports", {})
    if not wanted:
        for inside in sorted(found):
            for host, port in found[inside]:
                context.print(f"{inside} -> {_shown(host, port)}")
        return 0
    port = _port(wanted[0])
    if port not in found:
        raise NotFound(f"no public port '{port}' published for {text}")
    for host, number in found[port]:
        context.print(_shown(host, number))
    return 0


def _port(text: str) -> str:
    from ..grammars.ports import parse_expose

    try:
        ports = parse_expose(text)
    except ValueError as error:
        raise UsageError(f"invalid port {text!r}: {error}") from None
    if len(ports) > 1:
        raise UsageError(f"invalid port {text!r}: it is a range")
    return ports[0]


def _shown(host: str, port: int) -> str:
    return f"{in_brackets(host)}:{port}"


COMMAND = Command("CONTAINER [PRIVATE_PORT[/PROTO]]", run)
