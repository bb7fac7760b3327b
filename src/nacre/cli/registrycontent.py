"""`nacre registry undelete` and the like: what a registry of one's own holds and can restore."""

from __future__ import annotations

from ..words.errors import StoreError, UsageError
from .accounts import PLACE, elsewhere
from .each import each, inspect_each
from .options import Command, flag, many, number, text
from .output import FORMAT, QUIET, listing, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..engine.registrycontent import RegistryContent
    from ..engine.remotecontent import RemoteContent
    from ..services.server.webhooks import WebhookState
    from ..stores.browsing import RepositoryDetails
    from ..stores.retention import ExpiredTag
    from ..words.rules import RegistryRules, RetentionRule
    from .context import Context
    from .options import Args


def _content(context: Context, args: Args) -> RegistryContent | RemoteContent:
    if remote := elsewhere(context, args):
        return remote.content
    return _content_here(context, args)


def _content_here(context: Context, args: Args) -> RegistryContent:
    return context.engine.registries.content(args.root, actor=f"uid {context.uid}")


def _repositories(context: Context, args: Args) -> int:
    with _content(context, args) as content:
        rows: list[dict[str, str]] = []
        while names := content.repositories(rows[-1]["Name"] if rows else ""):
            rows += [{"Name": name} for name in names]
    listing(context, args, rows, [("NAME", "Name")], key="Name")
    return 0


def _tags(context: Context, args: Args) -> int:
    name = args.positionals[0]
    with _content(context, args) as content:
        found = content.tags(name)
        while more := content.tags(name, found[-1].tag) if found else []:
            found += more
    rows = [
        {"Tag": one.tag, "Digest": one.digest, "MediaType": one.media_type, "PushedAt": moment(one.updated)}
        for one in found
    ]
    listing(context, args, rows, [("TAG", "Tag"), ("DIGEST", "Digest"), ("PUSHED", "PushedAt")], key="Tag")
    return 0


def _inspect(context: Context, args: Args) -> int:
    with _content(context, args) as content:
        return inspect_each(
            context, args.positionals, args.format, lambda name: _document(content.repository(name))
        )


def _document(one: RepositoryDetails) -> dict[str, object]:
    about = one.about
    return {
        "Name": one.name, "Description": about.summary, "Readme": about.readme,
        "DescribedAt": moment(about.updated) if about.updated else "", "DescribedBy": about.author,
        "Tags": one.tags, "Contents": one.contents, "Bytes": one.bytes,
    }  # fmt: skip


def _describe(context: Context, args: Args) -> int:
    given = {"summary": args.description, "readme": _readme(context, args)}
    said = {name: given[name] for name, flag in _DESCRIBED.items() if flag in args.given}
    if not said:
        raise UsageError("nothing to change", hint="give --description or --readme")
    with _content(context, args) as content:
        content.describe(args.positionals[0], **said)
    return 0


_DESCRIBED = {"summary": "description", "readme": "readme"}
_MOST_README = 1 << 20


def _readme(context: Context, args: Args) -> str:
    """What is in the file, `-` for standard input, "" for none. Raises UsageError, StoreError."""
    if not args.readme:
        return ""
    if args.readme == "-":
        return context.stdin.read(_MOST_README)
    try:
        with open(args.readme, encoding="utf-8") as file:
            return file.read(_MOST_README)
    except OSError as error:
        raise StoreError(f"cannot read {args.readme}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{args.readme} is not text in UTF-8") from None


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


def _retain(context: Context, args: Args) -> int:
    """Show which tags go, or would go, and by which rule."""
    rows = [
        {
            "Repository": one.repository, "Tag": one.tag, "Digest": one.digest,
            "PushedAt": moment(one.updated), "Rule": one.rule,
        }
        for one in _expired(context, args)
    ]  # fmt: skip
    columns = [
        ("REPOSITORY", "Repository"), ("TAG", "Tag"), ("DIGEST", "Digest"), ("PUSHED", "PushedAt"),
        ("RULE", "Rule"),
    ]  # fmt: skip
    listing(context, args, rows, columns, key="Tag")
    return 0


def _expired(context: Context, args: Args) -> list[ExpiredTag]:
    if remote := elsewhere(context, args, "config", *_RULE):
        return remote.content.retain(dry_run=args.dry_run)
    with _content_here(context, args) as content:
        return content.retain(_rules(context, args), dry_run=args.dry_run)


_RULE = ("exclude", "keep_for", "keep_newest", "repository", "tag")


def _rules(context: Context, args: Args) -> Sequence[RetentionRule]:
    """Those of the configuration, or the one that the flags say."""
    from ..words.durations import seconds
    from ..words.rules import RetentionRule

    said = sorted(set(_RULE) & set(args.given))
    if args.config:
        if said:
            raise UsageError(f"--config and --{said[0].replace('_', '-')} exclude each other")
        return _configured(context, args).retention
    patterns = tuple(args.repository) or ("*",), tuple(args.tag) or ("*",), tuple(args.exclude)
    return [RetentionRule(*patterns, args.keep_newest, seconds(args.keep_for))]


def _webhooks(context: Context, args: Args) -> int:
    rows = [
        {
            "Name": one.name, "URL": one.place, "Events": " ".join(one.events), "Signed": one.signed,
            "Behind": one.behind, "Tries": one.tries, "Error": one.error,
        }
        for one in _told(context, args)
    ]  # fmt: skip
    columns = [
        ("NAME", "Name"), ("URL", "URL"), ("EVENTS", "Events"), ("SIGNED", "Signed"), ("BEHIND", "Behind"),
        ("ERROR", "Error"),
    ]  # fmt: skip
    listing(context, args, rows, columns, key="Name")
    return 0


def _told(context: Context, args: Args) -> list[WebhookState]:
    if remote := elsewhere(context, args, "config"):
        return remote.content.webhooks()
    with _content_here(context, args) as content:
        return content.webhooks(_configured(context, args).webhooks)


def _test_webhooks(context: Context, args: Args) -> int:
    if remote := elsewhere(context, args, "config"):
        return each(context, args.positionals, remote.content.test_webhook)
    rules = _configured(context, args).webhooks
    with _content_here(context, args) as content:
        return each(context, args.positionals, lambda name: content.test_webhook(rules, name))


def _configured(context: Context, args: Args) -> RegistryRules:
    return context.engine.registries.configure(args.config, variables=context.environment).rules


_ONE = text("--repository", "Only of this repository")
REPO_LS = Command("", _repositories, store=False, options=(FORMAT, QUIET, *PLACE))
REPO_TAGS = Command("NAME", _tags, store=False, options=(FORMAT, QUIET, *PLACE))
REPO_INSPECT = Command(
    "NAME [NAME...]", _inspect, store=False,
    options=(text("-f, --format", "Format output: 'json' or a Go template"), *PLACE),
)  # fmt: skip
REPO_SET = Command(
    "NAME", _describe, store=False,
    options=(
        text("--description", 'One line that says what the repository is for; "" for none'),
        text("--readme", 'File with its README (Markdown), - for standard input; "" for none', type="file"),
        *PLACE,
    ),
)  # fmt: skip
REPO_RM = Command(
    "NAME[:TAG|@DIGEST] [NAME...]", _remove, store=False, options=PLACE,
    details="Deletes tags (their manifests stay), manifests with their tags, or repositories with all their"
    " content. For a while nacre registry undelete restores them.",
)  # fmt: skip
UNDELETE = Command(
    "[NAME[:TAG|@DIGEST]...]", _undelete, store=False,
    options=(FORMAT, number("-n, --last", "Show this many of the newest", default=100), _ONE, *PLACE),
    details="Without a name, lists what can be restored. A moved tag is set back to its previous manifest,"
    " NAME:TAG@DIGEST to an earlier one.",
)  # fmt: skip
PURGE = Command(
    "NAME[:TAG|@DIGEST] [NAME...]", _purge, store=False, options=PLACE,
    details="Removes deleted content and blobs that only it needed: within a minute if the registry is served"
    ", otherwise when it is served next, or by nacre registry gc.",
)  # fmt: skip
RETENTION = Command(
    "", _retain, store=False,
    options=(
        text("--config", "Configuration file with the rules", type="path"),
        flag("--dry-run", "Only show what would be removed"),
        many("--exclude", "Tags to keep", type="pattern"),
        FORMAT,
        text("--keep-for", "Keep tags pushed within this time (30d, 12h)", type="duration"),
        number("--keep-newest", "Keep this many of the newest tags of each repository", default=0),
        many("--repository", "Look at these repositories (default: all)", type="pattern"),
        *PLACE,
        many("--tag", "Look at these tags (default: all)", type="pattern"),
    ),
    details="Removes tags by the rules of a configuration, or by one rule: a tag goes if neither its number"
    " nor its age keeps it. Immutable tags stay. nacre registry undelete restores removed tags.",
)  # fmt: skip
_CONFIG = text("--config", "Configuration file with the webhooks", type="path")
WEBHOOK_LS = Command("", _webhooks, store=False, options=(_CONFIG, FORMAT, QUIET, *PLACE))
WEBHOOK_TEST = Command(
    "NAME [NAME...]", _test_webhooks, store=False, options=(_CONFIG, *PLACE),
    details="Sends an event of the action test, once. Fails unless the answer has a status of 200 to 299.",
)  # fmt: skip
