"""`nacre registry undelete` and the like: what a registry of one's own holds and can restore."""

from __future__ import annotations

from .each import each
from .options import Command, number, text
from .output import FORMAT, QUIET, listing, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.registrycontent import RegistryContent
    from .context import Context
    from .options import Args


def _content(context: Context, args: Args) -> RegistryContent:
    return context.engine.registries.content(args.root, actor=f"uid {context.uid}")


def _repositories(context: Context, args: Args) -> int:
    with _content(context, args) as content:
        rows: list[dict[str, str]] = []
        while names := content.repositories(rows[-1]["Name"] if rows else ""):
            rows += [{"Name": name} for name in names]
    listing(context, args, rows, [("NAME", "Name")], key="Name")
    return 0


def _remove(context: Context, args: Args) -> int:
    with _content(context, args) as content:
        return each(context, args.positionals, content.remove)


def _undelete(context: Context, args: Args) -> int:
    """Restore each; without a name, show what could be."""
    if not args.positionals:
        return _deleted(context, args)
    with _content(context, args) as content:
        return each(context, args.positionals, content.undelete)


def _deleted(context: Context, args: Args) -> int:
    with _content(context, args) as content:
        rows = [
            {
                "Kind": one.kind, "Name": f"{one.repository}:{one.tag}" if one.tag else one.repository,
                "Digest": one.digest, "Actor": one.actor, "DeletedAt": moment(one.at),
            }
            for one in content.deleted(args.repository, limit=args.last)
        ]  # fmt: skip
    columns = [
        ("KIND", "Kind"), ("NAME", "Name"), ("DIGEST", "Digest"), ("BY", "Actor"), ("DELETED", "DeletedAt"),
    ]  # fmt: skip
    listing(context, args, rows, columns, key="Name")
    return 0


def _purge(context: Context, args: Args) -> int:
    with _content(context, args) as content:
        return each(context, args.positionals, content.purge)


_ROOT = text("--root", "Directory of the registry (default: `registry` in the store)", type="path")
_ONE = text("--repository", "Of one repository alone")
REPO_LS = Command("", _repositories, store=False, options=(FORMAT, QUIET, _ROOT))
REPO_RM = Command(
    "NAME [NAME...]", _remove, store=False, options=(_ROOT,),
    details="Deletes repositories with all that is in them; nacre registry undelete brings them back for a"
    " while.",
)  # fmt: skip
UNDELETE = Command(
    "[NAME[:TAG|@DIGEST]...]", _undelete, store=False,
    options=(FORMAT, number("-n, --last", "Show this many of the newest", default=100), _ONE, _ROOT),
    details="Without a name, shows what can be restored. A tag that was moved goes back to what it named"
    " before, NAME:TAG@DIGEST to what it named some time before.",
)  # fmt: skip
PURGE = Command(
    "NAME[:TAG|@DIGEST] [NAME...]", _purge, store=False, options=(_ROOT,),
    details="What was deleted is gone for good, with blobs that only it needed: within a minute where the"
    " registry is served, else when it is served next, or by nacre registry gc.",
)  # fmt: skip
