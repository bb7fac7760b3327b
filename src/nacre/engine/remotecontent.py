"""What a registry elsewhere holds and can restore, and its upkeep, as for one in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..services.server.webhooks import WebhookState
from ..stores.browsing import About, RepositoryDetails, TagLine
from ..stores.garbage import Garbage
from ..stores.integrity import DamagedManifest, RegistryReport
from ..stores.removed import RemovedEntry
from ..stores.retention import ExpiredTag
from ..stores.rows import WrongValue
from .registrycontent import deletable, parse_name, repository_of
from .remoteapi import RemotePart

if TYPE_CHECKING:
    from ..grammars.management import records as r


class RemoteContent(RemotePart):
    """With the methods of `RegistryContent`. Raises as `RegistryApi.ask`.

    Rules of retention and webhooks are those of the registry's own configuration.
    """

    def repositories(self, last: str = "", limit: int = 1000) -> list[str]:
        """Names after `last` in order, at most `limit` and 1000."""
        page = self._api.ask("listRepositories", None, {"n": min(limit, 1000), "last": last})
        return [one.name for one in page.repositories]

    def repository(self, name: str) -> RepositoryDetails:
        """What is known of a repository."""
        one: r.RepositoryRecord = self._api.ask("getRepository", repository=repository_of(name))
        written = one.described.timestamp() if one.described else 0.0
        about = About(one.summary, one.readme, written, one.described_by)
        return RepositoryDetails(one.name, about, one.tags, one.contents, one.bytes)

    def tags(self, repository: str, last: str = "", limit: int = 1000) -> list[TagLine]:
        """Those after `last` by name, at most `limit` and 1000."""
        query = {"n": min(limit, 1000), "last": last}
        page: r.TagPage = self._api.ask("listTags", None, query, repository=repository_of(repository))
        return [TagLine(one.tag, one.digest, one.media_type, one.updated.timestamp()) for one in page.tags]

    def describe(self, repository: str, *, summary: str | None = None, readme: str | None = None) -> None:
        """Say what a repository is for. None leaves what is there, "" removes it."""
        said = {"summary": summary, "readme": readme}
        given = {name: value for name, value in said.items() if value is not None}
        self._api.ask("updateRepository", given, repository=repository_of(repository))

    def remove(self, name: str) -> None:
        """Delete a tag, a manifest, or a repository with all that is in it; it can be restored a while."""
        repository, tag, digest = deletable(name)
        what = "removeTag" if tag else "removeManifest" if digest else "removeRepository"
        self._api.ask(what, repository=repository, tag=tag, digest=digest)

    def deleted(self, repository: str = "", before: int = 0, limit: int = 100) -> list[RemovedEntry]:
        """What can be restored, the newest first; the next page is that `before` the last id of this one."""
        query: dict[str, Any] = {"n": min(limit, 1000), "last": before or ""}
        query |= {"repository": repository} if repository else {}
        return [
            RemovedEntry(
                one.id, one.at.timestamp(), one.actor, one.repository, one.kind, one.tag, one.digest, one.size
            )
            for one in self._api.ask("listRemoved", None, query).removed
        ]

    def undelete(self, name: str) -> str:
        """Restore a tag, a manifest or a repository; the name of what is back."""
        repository, tag, digest = parse_name(name)
        back: r.NamedEntry = self._api.ask("undelete", _reference(tag, digest), repository=repository)
        return back.name

    def purge(self, name: str) -> int:
        """Let what was deleted be gone for good; how many entries that are."""
        repository, tag, digest = parse_name(name)
        gone: r.PurgedCount = self._api.ask("purge", _reference(tag, digest), repository=repository)
        return gone.entries

    def retain(self, *, dry_run: bool = False) -> list[ExpiredTag]:
        """Remove the tags that go by the registry's rules; the first thousand that went, or would."""
        found = self._finished("retain", {"dry_run": dry_run}).retention
        assert found is not None
        return [
            ExpiredTag(one.repository, one.tag, one.digest, one.updated.timestamp(), one.rule)
            for one in found.tags
        ]

    def webhooks(self) -> list[WebhookState]:
        """How far those who are told what happens are."""
        found = self._api.ask("listWebhooks").webhooks
        return [
            WebhookState(one.name, one.place, tuple(one.events), one.signed, one.behind, one.tries, one.error)
            for one in found
        ]

    def test_webhook(self, name: str) -> None:
        """Tell one of something that did not happen."""
        self._api.ask("testWebhook", webhook=name)

    def collect(self, *, dry_run: bool = False) -> tuple[Garbage, Garbage]:
        """What nothing names, and what of it is gone, or would go, by the registry's rules."""
        found = self._finished("collect", {"dry_run": dry_run}).gc
        assert found is not None
        return _garbage(found.unused), _garbage(found.gone)

    def check(self, *, read: bool = False, rate: int = 0) -> RegistryReport:
        """Prove that every manifest can be pulled; of what is damaged it names the first thousand."""
        found = self._finished("check", {"read": read, "rate": rate}).check
        assert found is not None
        damaged = tuple(
            DamagedManifest(one.repository, tuple(one.references), one.digest, one.part, one.problem)
            for one in found.damaged
        )
        counts = (found.repositories, found.manifests, found.blobs, found.bytes)
        rows = tuple(WrongValue(one.table, one.row, one.column, one.value) for one in found.rows)
        return RegistryReport(*counts, damaged, tuple(found.unneeded), rows)


def _reference(tag: str, digest: str) -> dict[str, str]:
    return ({"tag": tag} if tag else {}) | ({"digest": digest} if digest else {})


def _garbage(found: r.GarbageCount) -> Garbage:
    return Garbage(found.manifests, found.blobs, found.bytes)
