"""Passwords of those who have none here: an LDAP server knows them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ....grammars.wire.errors import Code, refusal
from ....stores.accounts.model import check_user
from ....words.errors import Conflict, InvalidName, Unavailable, Unsupported
from .external import admitted, external
from .identity import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from ....stores.accounts.reading import KnownUser
    from ....words.rules import LdapRules
    from ..state import RegistryState

HOLDS, _KNOWN = 60.0, 3600.0
"""Seconds for which an answer holds, and for which whoever had it is not kept out by failures of others."""
_REMEMBERED = 4096
_AT_ONCE, _WAITING = 4, 64
"""Questions at a time, so that a slow server does not take all threads; and those that may wait for that."""
_PAUSE = 5.0
"""Seconds after which a server that gave no answer is asked again."""


class LdapSignIn:
    """Of one registry; `note` takes a line for its operator. Raises Unsupported without ldap3.

    Use it on the event loop.
    """

    def __init__(self, rules: LdapRules, state: RegistryState, note: Callable[[str], object]) -> None:
        if not find_spec("ldap3"):
            raise Unsupported("sign-in by LDAP needs ldap3", hint="pip install nacre-oci[registry]")
        self._rules, self._state, self._note = rules, state, note
        self._accounts = state.store.accounts
        self._answers: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._salt = secrets.token_bytes(16)
        self._asking, self._waiting = asyncio.Semaphore(_AT_ONCE), 0
        self._silent_until = 0.0

    def is_for(self, name: str) -> bool:
        """Is it this server that decides? Not for robots, nor where there is a password here."""
        account = self._accounts.account(name)
        if account is not None:
            return not account.password and not account.robot
        try:
            return bool(check_user(name))
        except InvalidName:
            return False

    def remembered(self, name: str, secret: str) -> Identity | None:
        """Who that was a moment ago."""
        since, known = self._answers.get(self._key(name, secret), (0.0, ""))
        account = self._accounts.account(known) if known else None
        if account is None or account.password or time.monotonic() - since > HOLDS:
            return None
        return Identity(self._accounts, account, is_brief=True)

    def was_right(self, name: str, secret: str) -> bool:
        """Has this password been right lately?"""
        since, known = self._answers.get(self._key(name, secret), (0.0, ""))
        return bool(known) and time.monotonic() - since <= _KNOWN

    async def ask(self, name: str, secret: str) -> Identity | None:
        """Ask the server. Raises RegistryError UNAVAILABLE when it cannot answer: then nobody comes in."""
        if self._waiting >= _WAITING:
            raise _unavailable()
        self._waiting += 1
        try:
            async with self._asking:
                account = await self._account(name, secret)
        finally:
            self._waiting -= 1
        key = self._key(name, secret)
        if account is None:
            self._answers.pop(key, None)
            return None
        self._answers[key] = time.monotonic(), account.name
        self._answers.move_to_end(key)
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        return Identity(self._accounts, account, is_brief=True)

    async def _account(self, name: str, secret: str) -> KnownUser | None:
        if time.monotonic() < self._silent_until:
            raise _unavailable()
        try:
            return await self._state.work.run(self._signed_in, name, secret)
        except Unavailable as error:
            self._note(f"error: {error.message}")
            raise _unavailable() from error
        except (Conflict, InvalidName) as error:
            self._note(f"{name} cannot be signed in by LDAP: {error.message}")
            return None

    def _signed_in(self, name: str, secret: str) -> KnownUser | None:
        """In a thread. Raises Unavailable, Conflict, InvalidName."""
        from .ldap import LdapResultError, LdapServer, matching

        try:
            entry = LdapServer(self._rules).entry(name, secret)
        except LdapResultError:
            raise
        except Unavailable:
            self._silent_until = time.monotonic() + _PAUSE
            raise
        if entry is None:
            return None
        named = [pair.rpartition("=")[0] for pair in self._rules.teams] + [*self._rules.administrators]
        user = external(self._rules, entry.subject, name, matching(named, entry.groups))
        return admitted(self._accounts, self._state.catalog, user)

    def _key(self, name: str, secret: str) -> bytes:
        return hashlib.sha256(self._salt + f"{name}\0{secret}".encode()).digest()


def _unavailable() -> Exception:
    return refusal(Code.UNAVAILABLE, "the server that knows this password cannot be asked now")
