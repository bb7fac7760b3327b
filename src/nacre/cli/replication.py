"""`nacre registry replication`: what goes to other registries and comes from them, by rule."""

from __future__ import annotations

from ..words.durations import seconds
from ..words.errors import UsageError
from ..words.replication import PULL, PUSH, ReplicationRule
from .accounts import PLACE, elsewhere
from .each import each
from .options import Command, choice, flag, many, number, size, text
from .output import FORMAT, QUIET, listing, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.remotereplication import RemoteReplication
    from ..engine.replication import RegistryReplication, ReplicationDifference
    from .context import Context
    from .options import Args

_MAX_SECRET = 4096


def _replication(context: Context, args: Args) -> RegistryReplication | RemoteReplication:
    if remote := elsewhere(context, args, "config"):
        return remote.replication
    registries = context.engine.registries
    flags = {"root": args.root} if args.root else {}
    config = registries.configure(args.config, variables=context.environment, flags=flags)
    return registries.replication(config.folder, config.rules)


def _ls(context: Context, args: Args) -> int:
    with _replication(context, args) as found:
        rows = [
            {
                "Name": one.name, "Direction": one.direction, "Registry": one.registry, "Added": one.added,
                "Waiting": one.waiting, "Failed": one.failed, "Done": one.done,
                "Since": moment(one.since) if one.since else "", "Error": one.error,
            }
            for one in found.states()
        ]  # fmt: skip
    columns = [
        ("NAME", "Name"), ("DIRECTION", "Direction"), ("REGISTRY", "Registry"), ("WAITING", "Waiting"),
        ("FAILED", "Failed"), ("DONE", "Done"), ("ERROR", "Error"),
    ]  # fmt: skip
    listing(context, args, rows, columns, key="Name")
    return 0


def _status(context: Context, args: Args) -> int:
    """What waits or was given up."""
    with _replication(context, args) as found:
        rows = [
            {
                "Rule": one.rule, "Name": _name(one.repository, one.reference), "Tries": one.tries,
                "Next": moment(one.again) if one.again else "" if one.error else "now", "Error": one.error,
            }
            for one in found.failures(args.positionals, args.last)
        ]  # fmt: skip
    columns = [("RULE", "Rule"), ("NAME", "Name"), ("TRIES", "Tries"), ("NEXT", "Next"), ("ERROR", "Error")]
    listing(context, args, rows, columns, key="Name")
    return 0


def _name(repository: str, reference: str) -> str:
    return f"{repository}{'@' if ':' in reference else ':'}{reference}"


def _add(context: Context, args: Args) -> int:
    if not args.registry:
        raise UsageError("which registry?", hint="give --registry HOST[:PORT]")
    rule = ReplicationRule(
        args.positionals[0], args.registry, args.direction, tuple(args.repository) or ("*",),
        tuple(args.tag) or ("*",), tuple(args.exclude), args.strip, args.prefix, args.referrers, args.deletes,
        seconds(args.interval), seconds(args.timeout), args.rate, args.user,
        _password(context, args),
    )  # fmt: skip
    with _replication(context, args) as found:
        found.add(rule)
    context.print(rule.name)
    return 0


def _password(context: Context, args: Args) -> str:
    """From standard input, as no list of processes may show it."""
    if not args.password_stdin:
        return ""
    return context.stdin.read(_MAX_SECRET).rstrip("\r\n")


def _rm(context: Context, args: Args) -> int:
    with _replication(context, args) as found:
        return each(context, args.positionals, found.remove)


def _run(context: Context, args: Args) -> int:
    """1 when something could not be brought."""
    with _replication(context, args) as found:
        one = _compare if args.dry_run else _bring
        return max(one(context, found, name) for name in args.positionals)


def _compare(context: Context, found: RegistryReplication | RemoteReplication, name: str) -> int:
    def tell(one: ReplicationDifference) -> None:
        context.print(f"{name}: would copy {one.repository}:{one.tag} ({one.digest})")

    count, same = found.compare(name, tell)
    context.print(f"{name}: {count} to copy, {same} unchanged")
    return 0


def _bring(context: Context, found: RegistryReplication | RemoteReplication, name: str) -> int:
    state = found.run(name, context.print, context.warn)
    if state is None:
        context.print(f"{name}: the registry is served: it compares everything now")
        return 0
    context.print(f"{name}: {state.done} done, {state.waiting} waiting, {state.failed} failed")
    return 1 if state.waiting or state.failed else 0


_CONFIG = text("--config", "Configuration file with rules", type="path")
LS = Command("", _ls, store=False, options=(_CONFIG, FORMAT, QUIET, *PLACE))
STATUS = Command(
    "[NAME...]", _status, store=False,
    options=(
        _CONFIG, FORMAT, number("-n, --last", "Show this many of each rule", default=100), QUIET, *PLACE,
    ),
    details="NEXT is the time of the next attempt. What was given up is tried again when it changes, or by"
    " nacre registry replication run.",
)  # fmt: skip
RM = Command(
    "NAME [NAME...]", _rm, store=False, options=(_CONFIG, *PLACE),
    details="What was replicated stays.",
)  # fmt: skip
RUN = Command(
    "NAME [NAME...]", _run, store=False,
    options=(_CONFIG, flag("--dry-run", "Only show what would be copied"), *PLACE),
    details="Also retries what was given up. If the registry is served, its server does the work; otherwise"
    " this command does, and exits with 1 if something is left.",
)  # fmt: skip
ADD = Command(
    "NAME", _add, store=False,
    options=(
        _CONFIG,
        flag("--deletes", "Delete what was replicated when its original is deleted"),
        choice("--direction", "push what changes here, or pull what changes there", (PUSH, PULL),
               default=PUSH),
        many("--exclude", "Tags to leave out", type="pattern"),
        text("--interval", "Time between full comparisons; 0s: 1h with pull, never with push",
             default="0s", type="duration"),
        flag("--password-stdin", "Take the password, or a token, from standard input"),
        text("--prefix", "Namespace to put before names"),
        size("--rate", "Maximum bytes per second; 0: no limit", type="size"),
        flag("--referrers", "Also replicate signatures, SBOMs and other referrers"),
        text("--registry", "The other registry, [SCHEME://]HOST[:PORT]", type="registry"),
        many("--repository", "Repositories of the source to replicate (default: all)", type="pattern"),
        *PLACE,
        text("--strip", "Namespace to remove from names; other repositories are left out"),
        many("--tag", "Tags to replicate (default: all)", type="pattern"),
        text("--timeout", "Interrupt and retry a tag that takes longer", default="6h",
             type="duration"),
        text("--user", "User that this registry logs in as there"),
    ),
    details="The server of the registry follows the rule within seconds. The database of the registry holds"
    " the password in plain text; a configuration can name a file instead. A rule of the same name is"
    " replaced.",
)  # fmt: skip
