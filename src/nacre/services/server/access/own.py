"""What people change of their own account, on the page and over the management API.

Only who signed in themselves: a token must not make another one that lasts longer or may do more, and neither
must a certificate. Who has no password here (OpenID Connect, LDAP) needs tokens for `docker login`; theirs
end, as nobody tells this registry when an account elsewhere does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....stores.accounts.model import check_password
from ....words.errors import Conflict, NotFound, UsageError

if TYPE_CHECKING:
    from ....stores.accounts.administration import Administration
    from ....stores.accounts.model import AccessToken, Role
    from ....stores.accounts.reading import KnownUser
    from .identity import Identity

MOST_TOKENS, MOST_DAYS = 100, 90
"""Days: how long tokens last of who has no password here."""
DAY = 24 * 3600.0


def is_oneself(identity: Identity) -> bool:
    """Somebody who signed in with a password or at an issuer, and not by something that stands for them."""
    account = identity.account
    stands_for = identity.token or identity.scopes is not None or identity.trusts or identity.certificate
    return account is not None and not account.robot and not stands_for


def check_own_password(account: KnownUser, password: str) -> str:
    """`password` itself, if it may take the place of the account's. Raises UsageError, Conflict."""
    if not account.password:
        raise Conflict("you have no password here")
    return check_password(password)


def encoded_password(password: str) -> str:
    """A password as it is kept; takes 20 ms."""
    from .passwords import encoded

    return encoded(password)


class OwnTokens:
    """Those of one user."""

    def __init__(self, accounts: Administration, account: KnownUser) -> None:
        self._accounts, self._account = accounts, account

    def list(self) -> list[AccessToken]:
        """All of them by number."""
        return [token for token in self._accounts.tokens.list() if token.user == self._account.name]

    def add(self, label: str, *, role: Role, namespace: str, seconds: float) -> tuple[int, str]:
        """Its number and the secret; `seconds` 0 is for ever. Raises UsageError, Conflict, InvalidName."""
        if not self._account.password and not 0 < seconds <= MOST_DAYS * DAY:
            raise UsageError(f"without a password here a token lasts {MOST_DAYS} days at most")
        if len(self.list()) >= MOST_TOKENS:
            raise Conflict(f"you have {MOST_TOKENS} tokens already: remove one first")
        name, tokens = self._account.name, self._accounts.tokens
        return tokens.add(name, label, role=role, namespace=namespace, seconds=seconds)

    def remove(self, number: int) -> None:
        """It is of no use from now on. Raises NotFound."""
        if number not in [token.id for token in self.list()]:
            raise NotFound(f"you have no such token: {number}")
        self._accounts.tokens.remove(number)
