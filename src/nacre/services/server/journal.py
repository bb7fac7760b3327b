"""What happens that changes nothing: logins and pulls, written to the activity of the registry.

A request does not wait for that: what comes within a second is written together. A kill loses that second;
when more comes than can be written, the newest is left out.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ...stores.accounts.model import covers
from ...stores.activity import Action, Author, note
from ...words.errors import StoreError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...stores.catalog import Catalog
    from ...stores.catalog.model import CatalogTransaction
    from .work import Work

_PAUSE = 1.0
_MOST = 10_000
_REMEMBERED = 4096
_AGAIN = {"login": 3600.0, "refused": 60.0}
"""Seconds within which the same login of the same name from the same address is written once."""
_MOST_NAME = 250


class Journal:
    """Of one registry; `pulls` are the namespaces whose pulls are written. Use it on the event loop."""

    def __init__(self, catalog: Catalog, work: Work, pulls: Iterable[str] = ()) -> None:
        self._catalog, self._work, self._pulls = catalog, work, tuple(pulls)
        self._waiting: list[tuple[Author, Action]] = []
        self._writing: asyncio.Task[None] | None = None
        self._told: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def login(self, name: str, client: str, how: str, *, refused: bool = False) -> None:
        """Somebody logged in by a password, a token or otherwise, or was refused."""
        action = "refused" if refused else "login"
        key, now = (action, name, client, how), time.monotonic()
        if now - self._told.get(key, -_AGAIN[action]) >= _AGAIN[action]:
            self._told[key] = now
            if len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
            self._add(Author(_plain(name), client), Action(action, "", how))

    def pull(self, author: Author, repository: str, reference: str, digest: str) -> None:
        """A manifest was taken."""
        if self._pulls and any(covers(namespace, repository) for namespace in self._pulls):
            tag = "" if ":" in reference else reference
            self._add(author, Action("pull", repository, tag, digest))

    @property
    def wants_pulls(self) -> bool:
        """Is any pull written?"""
        return bool(self._pulls)

    def _add(self, author: Author, action: Action) -> None:
        if len(self._waiting) < _MOST:
            self._waiting.append((author, action))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon())

    async def _write_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(_PAUSE)
            await self._write()

    async def _write(self) -> None:
        entries, self._waiting = self._waiting, []

        def write(db: CatalogTransaction) -> None:
            for author, action in entries:
                note(db, author, action)

        try:
            if entries:
                await self._work.run(self._catalog.change, write)
        except (StoreError, Unavailable):  # a full disk, say: they are written when that is over
            self._waiting = (entries + self._waiting)[:_MOST]

    async def close(self) -> None:
        """Write what waits, as far as it can be written."""
        if self._writing:
            self._writing.cancel()
            await asyncio.wait({self._writing})
        await self._write()


def _plain(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name[:_MOST_NAME])
