"""`nacre registry serve`: a registry in the foreground."""

from __future__ import annotations

import os

from ..words.errors import UsageError
from .options import Command, flag, number, text
from .output import FORMAT, human_size, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..words.rules import GarbageRules
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
    from ..words.rules import RegistryRules, TlsRules

    root = os.path.abspath(args.root or context.engine.registries.folder)

    def ready(url: str) -> None:
        context.print(f"serving on {url}/v2/, storage {root}")
        context.stdout.flush()

    access = None if args.quiet else context.warn
    rules = RegistryRules(
        args.sparse, args.connections, args.delete_children, args.warning, _garbage(args),
        TlsRules(args.tls_cert, args.tls_key), args.plain_http,
    )  # fmt: skip
    context.engine.registries.serve(host, port, root, ready, access=access, rules=rules)
    return 0


def _garbage(args: Args) -> GarbageRules:
    from ..words.durations import seconds
    from ..words.rules import GarbageRules

    usual = GarbageRules()
    interval = seconds(args.gc_interval) if "gc_interval" in args.given else usual.interval
    return GarbageRules(interval, seconds(args.gc_grace), seconds(args.untagged_age))


def _collect(context: Context, args: Args) -> int:
    """Say what nothing names, and what of it is gone, or would go."""
    root = os.path.abspath(args.root or context.engine.registries.folder)
    found, gone = context.engine.registries.collect(root, _garbage(args), dry_run=args.dry_run)
    rows = [
        {"What": what, "Manifests": one.manifests, "Blobs": one.blobs, "Size": human_size(one.bytes)}
        for what, one in (("unused", found), ("would go now" if args.dry_run else "removed", gone))
    ]
    columns = [("", "What"), ("MANIFESTS", "Manifests"), ("BLOBS", "Blobs"), ("SIZE", "Size")]
    listing(context, args, rows, columns, key="What")
    return 0


_ROOT = text("--root", "Directory of the registry (default: `registry` in the store)", type="path")
_RULES = (
    text("--gc-grace", "How long a blob stays that no manifest needs", default="24h", type="duration"),
    text("--untagged-age", "How long a manifest stays that nothing names; 0s for ever", default="30d",
         type="duration"),
)  # fmt: skip
GC = Command(
    "", _collect, store=False,
    options=(flag("--dry-run", "Only show what is unused"), FORMAT, *_RULES, _ROOT),
    details="A registry that is served does this by itself. What is unused is noted when it is found, and"
    " removed when it has been so for the time given.",
)  # fmt: skip
COMMAND = Command(
    "",
    run=_serve,
    options=(
        text("--addr", "Address to listen on; port 0 picks a free one", default="127.0.0.1:5000",
             type="host:port"),
        number("--connections", "Most connections of one address; more behind a proxy", default=256),
        flag("--delete-children", "Delete with an index the manifests that nothing else names"),
        text("--gc-interval", "Look for what nothing names every so often; 0s for never", default="1h",
             type="duration"),
        *_RULES,
        flag("--plain-http", "Serve without TLS on an address that other machines reach"),
        _ROOT,
        flag("-q, --quiet", "Log only failures of the registry itself"),
        flag("--sparse", "Accept manifests whose content is not all there"),
        text("--tls-cert", "Certificate (PEM), its chain after it; read again when it changes", type="file"),
        text("--tls-key", "Key of the certificate (PEM)", type="file"),
        text("--warning", "What clients should tell their users"),
    ),
    store=False,
    details="Runs until ctrl-C. Requests are logged on standard error, one line each.",
)  # fmt: skip
