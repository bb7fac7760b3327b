"""Trust in tokens that others issue: which of them stand for what, and which were used already."""

from __future__ import annotations

import json
import time

from sqlalchemy import delete, insert, select

from ...words.errors import NotFound, UsageError
from .model import Trust, check_namespace, read_trust
from .schema import SPENT, TRUSTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .administration import ChangeTransaction

LONGEST = 24 * 3600.0
_MOST_TEXT = 1000


class Trusts:
    """The rules by which foreign tokens are exchanged."""

    def __init__(self, change: ChangeTransaction) -> None:
        self._change = change

    def add(self, rule: Trust) -> int:
        """Its number; that in `rule` means nothing. Raises UsageError, InvalidName."""
        _check(rule)
        values = rule._asdict() | {"claims": json.dumps(dict(sorted(rule.claims.items())))}
        values |= {"role": int(rule.role), "created": time.time()}
        del values["id"]
        with self._change("trust add", f"{rule.issuer}: {rule.role} in {rule.namespace}") as connection:
            made = connection.execute(insert(TRUSTS).values(**values))
            assert made.inserted_primary_key
            return int(made.inserted_primary_key[0])

    def remove(self, number: int) -> None:
        """What was given by it is of no use from now on. Raises NotFound."""
        with self._change("trust rm", str(number)) as connection:
            if not connection.execute(delete(TRUSTS).where(TRUSTS.c.id == number)).rowcount:
                raise NotFound(f"no such trust: {number}")

    def list(self) -> list[Trust]:
        """All of them by number."""
        with self._change() as connection:
            wanted = select(*(TRUSTS.c[name] for name in Trust._fields)).order_by(TRUSTS.c.id)
            return [read_trust(tuple(row)) for row in connection.execute(wanted)]

    def spend(self, token: str, client: str, until: float, expires: float) -> float:
        """A token is used now; gives until when it is good, 0.0 if it was used before, or is over.

        Only the same `client` may use one again, and "" is nobody. `until`: what a new one is good for, which
        is over by itself at `expires`; both in seconds since 1970.
        """
        now = time.time()
        with self._change() as connection:
            connection.execute(delete(SPENT).where(SPENT.c.kept < now))
            wanted = select(SPENT.c.client, SPENT.c.until).where(SPENT.c.token == token)
            row = connection.execute(wanted).first()
            if row is None and expires > now:
                values = {"token": token, "client": client, "until": until, "kept": max(until, expires)}
                connection.execute(insert(SPENT).values(**values))
                return until
            again = row and client and row[0] == client and row[1] > now
            return float(row[1]) if row and again else 0.0


def _check(rule: Trust) -> None:
    check_namespace(rule.namespace)
    _check_issuer(rule.issuer)
    _check_claims(rule.claims)
    if not rule.audience or len(rule.audience) > _MOST_TEXT or not rule.audience.isprintable():
        raise UsageError(f"invalid audience {rule.audience[:255]!r}")
    if not 0 < rule.seconds <= LONGEST:
        raise UsageError("a token is exchanged for a right of at most 24 hours, and more than none")


def _check_issuer(issuer: str) -> None:
    plain = issuer.isascii() and issuer.isprintable() and not set(" ?#@") & set(issuer)
    if not plain or not issuer.startswith(("https://", "http://")) or len(issuer) > _MOST_TEXT:
        raise UsageError(f"invalid issuer {issuer[:255]!r}: expected https://HOST[/PATH]")


def _check_claims(claims: Mapping[str, str]) -> None:
    """Everybody can get some token of a public issuer, so at least one claim must say whose are meant."""
    if not claims:
        raise UsageError(
            "name a claim: anybody may have a token of that issuer", hint="--claim repository=org/app"
        )
    for name, pattern in claims.items():
        if not name.isprintable() or not pattern.isprintable() or len(name + pattern) > _MOST_TEXT:
            raise UsageError(f"invalid claim {name[:255]!r}")
        if not pattern.strip("*"):
            raise UsageError(f"the claim {name} matches everything", hint="say what it must be")
