"""One's own account at a registry elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..stores.accounts.model import check_password
from ..words.durations import seconds
from .remoteaccounts import token_of
from .remoteapi import RemotePart

if TYPE_CHECKING:
    from ..grammars.management import records as r
    from ..stores.accounts.model import AccessToken


class RemoteAccount(RemotePart):
    """That of the login, which must be the user's own password and no token. Raises as `RegistryApi.ask`."""

    def show(self) -> r.AccountRecord:
        """The name, and what the user is."""
        found: r.AccountRecord = self._api.ask("getAccount")
        return found

    def set_password(self, password: str) -> None:
        """In place of the one of the login, which has to be made again. Raises UsageError, Conflict."""
        self._api.ask("setOwnPassword", {"password": check_password(password)})

    def add_token(
        self, label: str = "", *, role: str = "admin", namespace: str = "*", expires: str = ""
    ) -> tuple[int, str]:
        """As `RegistryAccounts.add_token`, for oneself."""
        limits = {"role": role, "namespace": namespace, "seconds": seconds(expires)}
        made: r.MadeToken = self._api.ask("addOwnToken", {"label": label, **limits})
        return made.id, made.secret

    def remove_token(self, number: int) -> None:
        """It is of no use from now on. Raises NotFound for those of others."""
        self._api.ask("removeOwnToken", token=number)

    def tokens(self) -> list[AccessToken]:
        """One's own by number."""
        return [token_of(one) for one in self._api.pages("listOwnTokens", "tokens")]
