"""`nacre registry user`, `team`, `token` and the like: who may do what at a registry of one's own."""

from __future__ import annotations

import time

from ..words.durations import seconds
from ..words.errors import UsageError
from ..words.sizes import binary_size, read_size
from .each import each
from .options import Command, choice, flag, many, number, text
from .output import FORMAT, QUIET, listing, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.accounts import RegistryAccounts
    from ..engine.remote import ManagedRegistry
    from ..engine.remoteaccount import RemoteAccount
    from ..engine.remoteaccounts import RemoteAccounts
    from .context import Context
    from .options import Args

_MAX_SECRET = 4096 + len("\r\n")
ROLES = ("read", "write", "delete", "admin")
ROOT = text("--root", "Directory of the registry (default: `registry` in the store)", type="path")
PLACE = (
    ROOT,
    text("--url", "Use the registry at https://HOST[:PORT], with the credentials of nacre login", type="url"),
)
"""Of commands that administer a registry: which one."""


def is_elsewhere(args: Args) -> bool:
    """Does `--url` name a registry? Raises UsageError when `--root` does as well."""
    if args.url and "root" in args.given:
        raise UsageError("--root and --url exclude each other")
    return bool(args.url)


def elsewhere(context: Context, args: Args, *others: str) -> ManagedRegistry | None:
    """The registry at `--url`, None without one. Raises UsageError for what its configuration says."""
    if not is_elsewhere(args):
        return None
    for name in others:
        if name in args.given:
            flag = name.replace("_", "-")
            raise UsageError(f"--url follows the rules of that registry: --{flag} cannot be given with it")
    return context.engine.registries.remote(args.url)


def accounts_of(context: Context, args: Args) -> RegistryAccounts | RemoteAccounts:
    """Those of the registry in `--root`, or at `--url`."""
    if remote := elsewhere(context, args):
        return remote.accounts
    return context.engine.registries.accounts(args.root, actor=f"uid {context.uid}")


# ── users ──


def _add_user(context: Context, args: Args) -> int:
    password = "" if args.robot else _password(context, args)
    with accounts_of(context, args) as accounts:
        accounts.add_user(args.positionals[0], password, admin=args.admin, robot=args.robot)
    context.print(args.positionals[0])
    return 0


def _password(context: Context, args: Args) -> str:
    """From standard input, else asked for twice. Raises UsageError."""
    if args.password_stdin:
        secret = context.stdin.read(_MAX_SECRET).rstrip("\r\n")
    elif context.stdin.isatty():
        from getpass import getpass

        secret = getpass("Password: ", context.stderr)
        if getpass("Repeat: ", context.stderr) != secret:
            raise UsageError("the passwords differ")
    else:
        raise UsageError(
            "cannot ask for a password: the input is not a terminal", hint="use --password-stdin"
        )
    if not secret:
        raise UsageError("the password is empty")
    return secret


def _update_user(context: Context, args: Args) -> int:
    changed = args.password or args.password_stdin
    if not changed and not {"admin", "disabled"} & set(args.given):
        raise UsageError("nothing to change", hint="give --password, --admin or --disabled")
    secret = _password(context, args) if changed else None
    with accounts_of(context, args) as accounts:
        accounts.update_user(
            args.positionals[0],
            password=secret,
            admin=_given(args, "admin"),
            disabled=_given(args, "disabled"),
        )
    return 0


def _given(args: Args, name: str) -> bool | None:
    return bool(getattr(args, name)) if name in args.given else None


def _remove_users(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        return each(context, args.positionals, accounts.remove_user)


def _users(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        rows = [
            {
                "Name": user.name, "Kind": "robot" if user.robot else "user",
                "Role": "administrator" if user.administrator else "",
                "Status": "disabled" if user.disabled else "", "CreatedAt": moment(user.created),
            }
            for user in accounts.users()
        ]  # fmt: skip
    columns = [
        ("NAME", "Name"),
        ("KIND", "Kind"),
        ("ROLE", "Role"),
        ("STATUS", "Status"),
        ("CREATED", "CreatedAt"),
    ]
    listing(context, args, rows, columns, key="Name")
    return 0


# ── teams ──


def _add_team(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        return each(context, args.positionals, accounts.add_team)


def _remove_teams(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        return each(context, args.positionals, accounts.remove_team)


def _join(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        accounts.join(args.positionals[0], args.positionals[1:])
    return 0


def _leave(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        accounts.leave(args.positionals[0], args.positionals[1:])
    return 0


def _teams(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        rows = [{"Name": team.name, "Members": ", ".join(team.members)} for team in accounts.teams()]
    listing(context, args, rows, [("NAME", "Name"), ("MEMBERS", "Members")], key="Name")
    return 0


# ── rights ──


def _grant(context: Context, args: Args) -> int:
    namespace, role = args.positionals
    with accounts_of(context, args) as accounts:
        accounts.grant(namespace, role, user=args.user, team=args.team)
    return 0


def _revoke(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        accounts.revoke(args.positionals[0], user=args.user, team=args.team)
    return 0


def _grants(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        rows = [
            {"Namespace": one.namespace, "Role": str(one.role), "User": one.user, "Team": one.team}
            for one in accounts.grants()
        ]
    columns = [("NAMESPACE", "Namespace"), ("ROLE", "Role"), ("USER", "User"), ("TEAM", "Team")]
    listing(context, args, rows, columns, key="Namespace")
    return 0


def _set_namespace(context: Context, args: Args) -> int:
    if not {"public", "immutable", "no_immutable", "quota"} & set(args.given):
        raise UsageError("nothing to change", hint="give --public, --immutable or --quota")
    patterns = None if not {"immutable", "no_immutable"} & set(args.given) else args.immutable
    with accounts_of(context, args) as accounts:
        accounts.set_namespace(
            args.positionals[0], public=_given(args, "public"), immutable=patterns, quota=_quota(args)
        )
    return 0


def _quota(args: Args) -> int | None:
    if "quota" not in args.given:
        return None
    try:
        return read_size(args.quota)
    except ValueError as error:
        raise UsageError(f"invalid quota {args.quota[:100]!r}: expected a size like 10GB") from error


def _namespaces(context: Context, args: Args) -> int:
    said = {None: "", True: "public", False: "private"}
    with accounts_of(context, args) as accounts:
        rows = [
            {
                "Name": one.name, "Visibility": said[one.public], "Immutable": " ".join(one.immutable),
                "Quota": binary_size(one.quota) if one.quota else "",
                "Used": binary_size(one.used) if one.quota else "",
            }
            for one in accounts.namespaces()
        ]  # fmt: skip
    columns = [
        ("NAME", "Name"), ("VISIBILITY", "Visibility"), ("IMMUTABLE TAGS", "Immutable"), ("QUOTA", "Quota"),
        ("USED", "Used"),
    ]  # fmt: skip
    listing(context, args, rows, columns, key="Name")
    return 0


# ── tokens ──


def _add_token(context: Context, args: Args) -> int:
    """Print the secret, which nobody can ask for again."""
    if bool(args.positionals) == args.mine:
        raise UsageError("name either USER or --mine")
    limits = {"role": args.role, "namespace": args.namespace, "expires": args.expires}
    if args.mine:
        number, secret = _own(context, args).add_token(args.label, **limits)
    else:
        with accounts_of(context, args) as accounts:
            number, secret = accounts.add_token(args.positionals[0], args.label, **limits)
    context.warn(f"token {number}; it is not shown again")
    context.print(secret)
    return 0


def _own(context: Context, args: Args) -> RemoteAccount:
    """The account of the login at `--url`. Raises UsageError."""
    if remote := elsewhere(context, args):
        return remote.account
    raise UsageError(
        "one's own account is that of a login", hint="name the registry: --url https://HOST[:PORT]"
    )


def _passwd(context: Context, args: Args) -> int:
    account = _own(context, args)
    name = account.show().name
    account.set_password(_password(context, args))
    context.warn(f"log in again: nacre login -u {name} {args.url.rpartition('/')[2]}")
    return 0


def _remove_tokens(context: Context, args: Args) -> int:
    with _own(context, args) if args.mine else accounts_of(context, args) as accounts:
        return each(context, args.positionals, lambda text: accounts.remove_token(number_of(text, "token")))


def number_of(written: str, what: str) -> int:
    """Of a token or a trust. Raises UsageError."""
    if not (written.isascii() and written.isdigit() and len(written) < 18):
        raise UsageError(
            f"invalid {what} {written[:100]!r}: expected its number", hint=f"nacre registry {what} ls"
        )
    return int(written)


def _tokens(context: Context, args: Args) -> int:
    with _own(context, args) if args.mine else accounts_of(context, args) as found:
        rows = [
            {
                "ID": one.id, "User": one.user, "Label": one.label, "Role": str(one.role),
                "Namespace": one.namespace, "CreatedAt": moment(one.created),
                "ExpiresAt": moment(one.expires) if one.expires else "never",
            }
            for one in found.tokens()
        ]  # fmt: skip
    columns = [
        ("ID", "ID"), ("USER", "User"), ("LABEL", "Label"), ("ROLE", "Role"), ("NAMESPACE", "Namespace"),
        ("EXPIRES", "ExpiresAt"),
    ]  # fmt: skip
    listing(context, args, rows, columns)
    return 0


def _audit(context: Context, args: Args) -> int:
    since = time.time() - seconds(args.since) if args.since else 0.0
    wanted = {"user": args.user, "action": args.action, "repository": args.repository, "since": since}
    with accounts_of(context, args) as accounts:
        rows = [
            {
                "Time": moment(one.at), "Actor": one.actor, "Client": one.client, "Action": one.action,
                "Subject": one.subject,
            }
            for one in accounts.audit(args.last, **wanted)
        ]  # fmt: skip
    columns = [
        ("TIME", "Time"), ("ACTOR", "Actor"), ("CLIENT", "Client"), ("ACTION", "Action"),
        ("SUBJECT", "Subject"),
    ]  # fmt: skip
    listing(context, args, rows, columns)
    return 0


_NAMES = QUIET.replace(help="Only display names")
_PASSWORD = flag("--password-stdin", "Take the password from standard input")
_MINE = flag("--mine", "Your own tokens at --url, where you logged in with your password")
_WHO = (text("--user", "A user"), text("--team", "A team"), *PLACE)
USER_ADD = Command(
    "NAME", _add_user, store=False,
    options=(
        flag("--admin", "Make the user an administrator; the first user must be one"),
        _PASSWORD,
        flag("--robot", "The user logs in with tokens only, and has no namespace"),
        *PLACE,
    ),
    details="As soon as there is a user, everybody has to log in.",
)  # fmt: skip
USER_UPDATE = Command(
    "NAME", _update_user, store=False,
    options=(
        flag("--admin", "Make the user an administrator; --admin=false undoes that"),
        flag("--disabled", "Lock the user out; --disabled=false undoes that"),
        flag("--password", "Ask for a new password"),
        _PASSWORD,
        *PLACE,
    ),
)  # fmt: skip
USER_PASSWD = Command(
    "", _passwd, store=False, options=(_PASSWORD, PLACE[1]),
    details="It is the account that you logged in with. Its tokens stay; its sessions on the page end.",
)  # fmt: skip
USER_RM = Command("NAME [NAME...]", _remove_users, store=False, options=PLACE)
USER_LS = Command("", _users, store=False, options=(FORMAT, _NAMES, *PLACE))
TEAM_ADD = Command("NAME [NAME...]", _add_team, store=False, options=PLACE)
TEAM_RM = Command("NAME [NAME...]", _remove_teams, store=False, options=PLACE)
TEAM_JOIN = Command("TEAM USER [USER...]", _join, store=False, options=PLACE)
TEAM_LEAVE = Command("TEAM USER [USER...]", _leave, store=False, options=PLACE)
TEAM_LS = Command("", _teams, store=False, options=(FORMAT, _NAMES, *PLACE))
GRANT = Command(
    "NAMESPACE ROLE", _grant, store=False, options=_WHO,
    details="ROLE is read, write, delete or admin; each includes those before it. NAMESPACE is a repository,"
    " the first parts of several, or * for all. Users may do everything in the namespace of their own name.",
)  # fmt: skip
REVOKE = Command("NAMESPACE", _revoke, store=False, options=_WHO)
GRANTS = Command(
    "", _grants, store=False, options=(FORMAT, QUIET.replace(help="Only display namespaces"), *PLACE)
)
NAMESPACE_SET = Command(
    "NAMESPACE", _set_namespace, store=False,
    options=(
        many("--immutable", "Tags that match cannot be changed once set", type="pattern"),
        flag("--no-immutable", "Remove the patterns"),
        flag("--public", "Anybody may read; --public=false: only users with a role"),
        text("--quota", "Maximum size, in bytes or as 500MB, 10GB; 0: no limit", type="bytes"),
        *PLACE,
    ),
    details="The closest namespace with a setting decides. All quotas above a repository apply; content that"
    " repositories share counts once.",
)  # fmt: skip
NAMESPACE_LS = Command("", _namespaces, store=False, options=(FORMAT, _NAMES, *PLACE))
TOKEN_ADD = Command(
    "[USER]", _add_token, store=False,
    options=(
        text("--expires", "Expire after this time (30d, 12h)", type="duration"),
        text("--label", "What the token is for"),
        _MINE,
        text("--namespace", "Restrict the token to this namespace", default="*"),
        choice("--role", "At most: read, write, delete or admin", ROLES, default="admin"),
        *PLACE,
    ),
    details="The token replaces the password of nacre login -u USER. It is shown once.",
)  # fmt: skip
TOKEN_RM = Command("ID [ID...]", _remove_tokens, store=False, options=(_MINE, *PLACE))
TOKEN_LS = Command("", _tokens, store=False, options=(FORMAT, _MINE, QUIET, *PLACE))
AUDIT = Command(
    "", _audit, store=False,
    options=(
        text("--action", "Only this action: push, tag, mount, delete, pull, login, refused, grant, ..."),
        FORMAT,
        number("-n, --last", "Show this many of the newest entries", default=100),
        text("--repository", "Only what concerns this repository"),
        *PLACE,
        text("--since", "Only what happened within this time (12h, 30d)", type="duration"),
        text("--user", "Only what this user did"),
    ),
    details="Pulls are recorded if the configuration says so ([activity] pulls).",
)  # fmt: skip
