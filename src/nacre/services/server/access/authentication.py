"""Names with passwords, and tokens in the place of passwords. No more than a few failures a minute."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
import time
from collections import Counter, OrderedDict
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING

from ....grammars.wire.errors import Code, refusal
from ....stores.accounts.model import MAX_USER
from .identity import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ....stores.accounts.reading import Accounts
    from ..journal import Journal
    from ..work import Work
    from .signin import LdapSignIn

    Foreign = Callable[[str, str], Awaitable[Identity | None]]

_FAILURES, _FROM_ADDRESS, _WINDOW = 10, 100, 60.0
"""Of one name from one address, of all from there (many may share it), in so many seconds."""
_REMEMBERED = 4096
_MOST_FIELD = 16384
FOREIGN_USER = "oidc"
"""Who logs in with a token of another issuer as a password."""
_AT_ONCE = 2
"""Passwords that are checked at a time: each takes 19 MiB and 20 ms on purpose."""


class Authentication:
    """Asks `accounts` who somebody is."""

    def __init__(self, accounts: Accounts, work: Work, journal: Journal, foreign: Foreign) -> None:
        self._accounts, self._work, self._journal, self._foreign = accounts, work, journal, foreign
        self.ldap: LdapSignIn | None = None
        """Whom to ask about those who have no password here."""
        self._failures = Failures()
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._salt = secrets.token_bytes(16)
        self._checking = asyncio.Semaphore(_AT_ONCE)

    async def basic(self, field: str, address: str) -> Identity | None:
        """By what follows `Basic`; None where it is not right. Raises RegistryError TOOMANYREQUESTS."""
        name, secret = _parse(field)
        return await self.check(name, secret, address)

    async def check(self, name: str, secret: str, address: str) -> Identity | None:
        """As `basic`. Only guesses count: who has logged in before, or has a token, is never kept out."""
        await self._work.ask(self._accounts.prepare, name, _hash(secret))
        found, how = self._at_once(name, secret)
        if found:
            self._journal.login(name, address, how)
        if found or len(name) > MAX_USER:
            return found
        if self.ldap and self.ldap.was_right(name, secret):
            return self._judged(*await self._ask(name, secret, address), name, address)
        async with self._failures.guess(address, name):
            return self._judged(*await self._ask(name, secret, address), name, address)

    def _at_once(self, name: str, secret: str) -> tuple[Identity | None, str]:
        """What needs no question, and how."""
        if found := self._by_token(name, secret):
            return found, "token"
        if found := self._remembered(name, secret):
            return found, "password"
        return (self.ldap.remembered(name, secret) if self.ldap else None), "ldap"

    async def _ask(self, name: str, secret: str, address: str) -> tuple[Identity | None, str]:
        if name == FOREIGN_USER and looks_foreign(secret):
            return await self._foreign(secret, address), "oidc"
        if self.ldap and name != FOREIGN_USER and self.ldap.is_for(name):
            return await self.ldap.ask(name, secret), "ldap"
        return await self._by_password(name, secret), "password"

    def _judged(self, found: Identity | None, how: str, name: str, address: str) -> Identity | None:
        if found is None:
            self._failures.add(address, name)
        who = found.account.name if found and found.account else name
        self._journal.login(who, address, how, refused=found is None)
        return found

    async def exchange(self, token: str, address: str) -> Identity | None:
        """Whom a token of others stands for, which is used up by that. Raises RegistryError, NacreError."""
        async with self._failures.guess(address, FOREIGN_USER):
            return self._judged(await self._foreign(token, ""), "exchange", FOREIGN_USER, address)

    def _by_token(self, name: str, secret: str) -> Identity | None:
        token = self._accounts.token(_hash(secret))
        if token is None or token.account.name != name or 0 < token.expires < time.time():
            return None
        limits = (token.account, token.id, token.role, token.namespace)
        return Identity(self._accounts, *limits, until=token.expires or inf)

    def _remembered(self, name: str, secret: str) -> Identity | None:
        account, key = self._accounts.account(name), self._key(name, secret)
        if account is None or not account.password or self._known.get(key) != account.password:
            return None
        self._known.move_to_end(key)
        return Identity(self._accounts, account)

    async def _by_password(self, name: str, secret: str) -> Identity | None:
        """A user who does not exist takes as long as one who does."""
        from .passwords import NOBODY, matches

        account = self._accounts.account(name)
        stored = account.password if account else ""
        async with self._checking:
            right = await self._work.run(matches, stored or NOBODY, secret)
        if not right or not stored:
            return None
        self._known[self._key(name, secret)] = stored
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return Identity(self._accounts, account)

    def _key(self, name: str, secret: str) -> bytes:
        return hashlib.sha256(self._salt + f"{name}\0{secret}".encode()).digest()


class Failures:
    """Counts failures of the last minute, by who failed from where, and guesses that are under way."""

    def __init__(self) -> None:
        self._times: OrderedDict[tuple[str, ...], list[float]] = OrderedDict()
        self._guesses: Counter[tuple[str, ...]] = Counter()
        self._ended = asyncio.Event()

    @asynccontextmanager
    async def guess(self, address: str, name: str) -> AsyncIterator[None]:
        """While they try: no more at a time than may fail yet, the others wait. Raises as `check`."""
        while self._is_busy(address, name):
            await self._ended.wait()
        keys = [key for key, _ in _bounds(address, name)]
        self._guesses.update(keys)
        try:
            yield
        finally:
            self._guesses -= Counter(keys)
            ended, self._ended = self._ended, asyncio.Event()
            ended.set()

    def _is_busy(self, address: str, name: str) -> bool:
        self.check(address, name)
        return any(
            len(self._recent(key)) + self._guesses[key] >= most for key, most in _bounds(address, name)
        )

    def check(self, address: str, name: str) -> None:
        """May they try once more? Raises RegistryError TOOMANYREQUESTS."""
        for key, most in _bounds(address, name):
            if len(self._recent(key)) >= most:
                error = refusal(Code.TOOMANYREQUESTS, "too many failed logins: wait a minute")
                error.headers["Retry-After"] = str(int(_WINDOW))
                raise error

    def add(self, address: str, name: str) -> None:
        """Another one now; the oldest are forgotten first."""
        for key, _ in _bounds(address, name):
            self._times[key] = [*self._recent(key), time.monotonic()]
            self._times.move_to_end(key)
        while len(self._times) > _REMEMBERED:
            self._times.popitem(last=False)

    def _recent(self, key: tuple[str, ...]) -> list[float]:
        since = time.monotonic() - _WINDOW
        return [each for each in self._times.get(key, ()) if each > since]


def _bounds(address: str, name: str) -> tuple[tuple[tuple[str, ...], int], ...]:
    """What is counted, and the most of it."""
    return ((address, name), _FAILURES), ((address,), _FROM_ADDRESS)


def looks_foreign(secret: str) -> bool:
    """Is it a JSON Web Token? Passwords and tokens of ours are not."""
    return len(secret) <= _MOST_FIELD and secret.count(".") == 2 and secret.startswith("ey")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _parse(field: str) -> tuple[str, str]:
    """Name and password (RFC 7617); two empty ones of what cannot be read."""
    try:
        text = base64.b64decode(field[:_MOST_FIELD], validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    name, _, secret = text.partition(":")
    return (name, secret) if len(name) <= MAX_USER else ("", "")
