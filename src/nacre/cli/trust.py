"""`nacre registry trust`: CI jobs that push without a secret."""

from __future__ import annotations

from ..words.errors import UsageError
from .accounts import PLACE, ROLES, accounts_of, number_of
from .each import each
from .options import Command, choice, many, text
from .output import FORMAT, QUIET, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def _add(context: Context, args: Args) -> int:
    if not args.namespace:
        raise UsageError("say where the jobs may act", hint="--namespace shop")
    with accounts_of(context, args) as accounts:
        number = accounts.add_trust(
            args.positionals[0], dict(map(_claim, args.claim)), namespace=args.namespace, role=args.role,
            lifetime=getattr(args, "for"), audience=args.audience,
        )  # fmt: skip
    context.print(str(number))
    return 0


def _claim(written: str) -> tuple[str, str]:
    name, equals, pattern = written.partition("=")
    if not (name and equals and pattern):
        raise UsageError(f"invalid claim {written[:255]!r}: expected NAME=PATTERN")
    return name, pattern


def _remove(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        return each(context, args.positionals, lambda text: accounts.remove_trust(number_of(text, "trust")))


def _list(context: Context, args: Args) -> int:
    with accounts_of(context, args) as accounts:
        rows = [
            {
                "ID": one.id, "Issuer": one.issuer, "Audience": one.audience,
                "Claims": " ".join(f"{name}={pattern}" for name, pattern in one.claims.items()),
                "Role": str(one.role), "Namespace": one.namespace, "For": f"{one.seconds:g}s",
            }
            for one in accounts.trusts()
        ]  # fmt: skip
    columns = [
        ("ID", "ID"), ("ISSUER", "Issuer"), ("CLAIMS", "Claims"), ("AUDIENCE", "Audience"), ("ROLE", "Role"),
        ("NAMESPACE", "Namespace"), ("FOR", "For"),
    ]  # fmt: skip
    listing(context, args, rows, columns)
    return 0


TRUST_ADD = Command(
    "ISSUER", _add, store=False,
    options=(
        text("--audience", "Audience that the token must have (claim aud)", default="nacre-registry"),
        many("--claim", "A claim that the token must have, with * and ?", type="name=pattern"),
        text("--for", "Lifetime of an exchanged token", default="15m", type="duration"),
        text("--namespace", "Namespace in which the jobs get the role"),
        choice("--role", "What they may do: read, write, delete or admin", ROLES, default="write"),
        *PLACE,
    ),
    details="A job exchanges the token that its CI system issues for it, for example GitHub"
    " (https://token.actions.githubusercontent.com) or GitLab (https://gitlab.com), or logs in with it"
    " as the user oidc. docs/registry-access.md describes both.",
)  # fmt: skip
TRUST_RM = Command("ID [ID...]", _remove, store=False, options=PLACE)
TRUST_LS = Command("", _list, store=False, options=(FORMAT, QUIET, *PLACE))
