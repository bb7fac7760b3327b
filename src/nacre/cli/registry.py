"""`nacre registry serve`: a registry in the foreground."""

from __future__ import annotations

import os

from ..words.errors import UsageError
from .options import Command, flag, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def _address(spelling: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `:PORT` (every interface) or `[IPV6]:PORT`."""
    host, colon, port = spelling.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError(f"invalid address {spelling!r}: expected HOST:PORT")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise UsageError(f"invalid address {spelling!r}: write an IPv6 address as [{host}]:{port}")
    return host.strip("[]") or "0.0.0.0", int(port)


def _serve(context: Context, args: Args) -> int:
    host, port = _address(args.addr)
    from ..grammars.wire.links import is_loopback
    from ..words.rules import RegistryRules

    root = os.path.abspath(args.root or context.engine.registries.folder)
    if not is_loopback(host):
        context.warn(
            f"warning: {host} is reachable from other machines, and there is no TLS: passwords can be read on"
            " the way, and without accounts anyone can read, replace and delete images"
        )

    def ready(url: str) -> None:
        context.print(f"serving on {url}/v2/, storage {root}")
        context.stdout.flush()

    access = None if args.quiet else context.warn
    rules = RegistryRules(args.sparse, args.connections, args.delete_children, args.warning)
    context.engine.registries.serve(host, port, root, ready, access=access, rules=rules)
    return 0


COMMAND = Command(
    "",
    run=_serve,
    options=(
        text("--addr", "Address to listen on; port 0 picks a free one", default="127.0.0.1:5000",
             type="host:port"),
        number("--connections", "Most connections of one address; more behind a proxy", default=256),
        flag("--delete-children", "Delete with an index the manifests that nothing else names"),
        text("--root", "Directory of the registry (default: `registry` in the store)", type="path"),
        flag("-q, --quiet", "Log only failures of the registry itself"),
        flag("--sparse", "Accept manifests whose content is not all there"),
        text("--warning", "What clients should tell their users"),
    ),
    store=False,
    details="Runs until ctrl-C. Requests are logged on standard error, one line each.",
)  # fmt: skip
