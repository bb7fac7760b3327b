"""Repositories and tags, and what was deleted of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import UNSET

from ....grammars.management import records as r
from ....stores.browsing import Browsing
from ....stores.removed import RemovedContent
from ....words.digest import Digest
from ....words.errors import Conflict, NotFound, RegistryError
from .call import cut
from .people import moment

if TYPE_CHECKING:
    from ....stores.browsing import RepositoryLine
    from ....stores.removed import RemovedEntry
    from ..state import RegistryState
    from .call import Handler, ManagementCall

_STEP, _STEPS = 500, 40
"""Repositories that are looked through at a time, and how often, for those that somebody may read."""


class ContentCalls:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._state, self._run = state, state.work.run
        self._browsing, self._removed = Browsing(state.catalog), RemovedContent(state.catalog)
        self.handlers: dict[str, Handler] = {
            "listRepositories": self.repositories, "getRepository": self.repository,
            "updateRepository": self.describe, "removeRepository": self.remove, "listTags": self.tags,
            "removeTag": self.remove_tag, "removeManifest": self.remove_manifest,
            "undelete": self.undelete, "purge": self.purge, "listRemoved": self.removed,
        }  # fmt: skip

    async def repositories(self, call: ManagementCall) -> object:
        """A page of those that may be read. No name is told of another, not even as the end of a page."""
        found: list[RepositoryLine] = []
        last, most = call.query.last, call.query.n
        for _ in range(_STEPS):
            rows = await self._run(self._browsing.repositories, call.query.q, last, _STEP)
            found += [row for row in rows if call.may_read(row.name)]
            if len(found) > most or len(rows) < _STEP:
                break
            last = rows[-1].name
        shown, following = cut(found, most, lambda row: row.name)
        return r.RepositoryPage(repositories=[_entry(row) for row in shown], next=following)

    async def _known(self, call: ManagementCall) -> str:
        """The repository of the path. Raises NotFound."""
        name: str = call.parameters["repository"]
        if not await self._state.work.ask(self._state.catalog.exists, name):
            raise NotFound(f"no repository {name}")
        return name

    async def repository(self, call: ManagementCall) -> object:
        """What is known of one. Raises NotFound."""
        name = await self._known(call)
        found = await self._run(self._browsing.details, name)
        about = found.about
        return r.RepositoryRecord(
            name=name, summary=about.summary, readme=about.readme, described_by=about.author,
            described=moment(about.updated) if about.updated else None, tags=found.tags,
            contents=found.contents, bytes=found.bytes,
        )  # fmt: skip

    async def describe(self, call: ManagementCall) -> object:
        """Write what the body has; the rest stays. Raises NotFound."""
        name, change = await self._known(call), call.body
        summary = None if change.summary is UNSET else change.summary
        readme = None if change.readme is UNSET else change.readme
        await self._run(self._browsing.describe, name, summary, readme, call.user)
        return await self.repository(call)

    async def remove(self, call: ManagementCall) -> None:
        """Delete a repository. Raises NotFound."""
        name = await self._known(call)
        catalog, author = self._state.catalog, call.author
        delete = lambda: list(catalog.delete_repository(name, author))  # noqa: E731
        await self._run(self._state.store.freeing, delete)

    async def tags(self, call: ManagementCall) -> object:
        """A page of them by name. Raises NotFound."""
        name, query = await self._known(call), call.query
        rows = await self._run(self._browsing.tags, name, query.q, query.last, query.n + 1)
        shown, following = cut(rows, query.n, lambda row: row.tag)
        entries = [
            r.TagEntry(tag=row.tag, digest=row.digest, media_type=row.media_type, updated=moment(row.updated))
            for row in shown
        ]
        return r.TagPage(tags=entries, next=following)

    async def remove_tag(self, call: ManagementCall) -> None:
        """The manifest stays. Raises NotFound."""
        name, tag, author = await self._known(call), call.parameters["tag"], call.author
        catalog = self._state.catalog
        delete = lambda: catalog.delete_tag(name, tag, author=author)  # noqa: E731
        if not await self._run(self._state.store.freeing, delete):
            raise NotFound(f"no tag {tag} in {name}")

    async def remove_manifest(self, call: ManagementCall) -> None:
        """With its tags, by the operator's rules. Raises NotFound, Conflict if an index needs it."""
        name, digest = await self._known(call), Digest(call.parameters["digest"])
        catalog, children = self._state.catalog, self._state.rules.children
        delete = partial(catalog.delete_manifest, name, digest, author=call.author, children=children)
        try:
            gone = await self._run(self._state.store.freeing, delete)
        except RegistryError as error:
            raise Conflict(error.message) from error
        if not gone:
            raise NotFound(f"no manifest {digest} in {name}")

    async def undelete(self, call: ManagementCall) -> object:
        """Restore what was deleted or moved. Raises NotFound, Conflict."""
        name, author = call.parameters["repository"], call.author
        tag, digest = (value or "" for value in (call.body.tag, call.body.digest))
        if tag:
            frozen = await self._run(self._state.store.accounts.is_immutable, name, tag)
            restore = partial(self._removed.restore_tag, name, tag, digest, author, frozen=frozen)
            back = await self._run(restore)
            return r.NamedEntry(name=f"{name}:{tag}@{back}")
        if digest:
            await self._run(self._removed.restore_manifest, name, digest, author)
            return r.NamedEntry(name=f"{name}@{digest}")
        await self._run(self._removed.restore_repository, name, author)
        return r.NamedEntry(name=name)

    async def purge(self, call: ManagementCall) -> object:
        """Let it be gone for good. Raises NotFound."""
        reference = call.body.tag or call.body.digest or ""
        count = await self._run(self._removed.purge, call.parameters["repository"], reference)
        return r.PurgedCount(entries=count)

    async def removed(self, call: ManagementCall) -> object:
        """A page of them, the newest first."""
        query, before = call.query, numbered(call.query.last)
        found = await self._run(self._removed.page, query.repository or "", before, query.n + 1)
        shown, following = cut(found, query.n, lambda one: str(one.id))
        return r.RemovedPage(removed=[_removed(each) for each in shown], next=following)


def numbered(text: str) -> int:
    """The number that `last` of a query is, 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _entry(row: RepositoryLine) -> r.RepositoryEntry:
    updated = moment(row.updated) if row.updated else None
    return r.RepositoryEntry(name=row.name, summary=row.summary, tags=row.tags, updated=updated)


def _removed(one: RemovedEntry) -> r.RemovedRecord:
    return r.RemovedRecord(
        id=one.id, at=moment(one.at), actor=one.actor, repository=one.repository, kind=one.kind, tag=one.tag,
        digest=one.digest, size=one.size,
    )  # fmt: skip
