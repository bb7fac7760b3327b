"""What a registry of one's own holds and can restore."""

from __future__ import annotations

from ..words.digest import Digest
from ..words.errors import InvalidName, NotFound, RegistryError
from .database import OpenedCatalog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..services.server.outgoing import Post
    from ..services.server.webhooks import Webhook, WebhookState
    from ..stores.browsing import Browsing, RepositoryDetails, TagLine
    from ..stores.removed import RemovedContent, RemovedEntry
    from ..stores.retention import ExpiredTag
    from ..words.rules import RetentionRule, WebhookRule


class RegistryContent(OpenedCatalog):
    """Of the registry in `folder`, served at the moment or not. Use it with `with`.

    A name is `REPOSITORY`, `REPOSITORY:TAG` or `REPOSITORY@DIGEST`. `actor` is who the record of activity
    says did it. Raises Conflict where there is no registry, StoreError.
    """

    def __init__(self, folder: str, actor: str, post: Post) -> None:
        super().__init__(folder)
        self._actor, self._post = actor, post

    def repositories(self, last: str = "", limit: int = 10_000) -> list[str]:
        """Names after `last` in order, at most `limit`."""
        return self._catalog.repositories(last, limit)

    def repository(self, name: str) -> RepositoryDetails:
        """What is known of a repository. Raises NotFound, InvalidName."""
        return self._browsing.details(self._known(name))

    def tags(self, repository: str, last: str = "", limit: int = 1000) -> list[TagLine]:
        """Those after `last` by name, at most `limit` and 1000. Raises NotFound, InvalidName."""
        return self._browsing.tags(self._known(repository), "", last, min(limit, 1000))

    def describe(self, repository: str, *, summary: str | None = None, readme: str | None = None) -> None:
        """Say what a repository is for: a line of at most 200 characters, and Markdown of at most 65,536.

        None leaves what is there, "" removes it. Raises NotFound, InvalidName, UsageError.
        """
        self._browsing.describe(self._known(repository), summary, readme, self._actor)

    def _known(self, name: str) -> str:
        repository = repository_of(name)
        if not self._catalog.exists(repository):
            raise NotFound(f"no repository {repository}")
        return repository

    def remove(self, name: str) -> None:
        """Delete a tag, a manifest with its tags, or a repository with all that is in it.

        It can be restored for a while. A manifest that an index needs stays. Raises NotFound, InvalidName,
        RegistryError.
        """
        from ..stores.activity import Author

        repository, tag, digest = deletable(name)
        catalog, author = self._catalog, Author(self._actor)
        if tag or digest:
            self._known(repository)
        if digest and not catalog.delete_manifest(repository, Digest(digest), author=author):
            raise NotFound(f"no manifest {digest} in {repository}")
        if tag and not catalog.delete_tag(repository, tag, author=author):
            raise NotFound(f"no tag {tag} in {repository}")
        if not tag and not digest and not list(catalog.delete_repository(repository, author)):
            raise NotFound(f"no repository {repository}")

    def deleted(self, repository: str = "", before: int = 0, limit: int = 100) -> list[RemovedEntry]:
        """What can be restored, the newest first; the next page is that `before` the last id of this one."""
        return self._removed.page(repository, before, limit)

    def undelete(self, name: str) -> str:
        """Restore a tag, also one that was moved, a manifest or a repository; the name of what is back.

        `REPOSITORY:TAG@DIGEST` is what a tag named some time before. What a tag names now can be restored in
        its turn. An immutable tag that names something else stays. Raises NotFound, Conflict, InvalidName.
        """
        from ..stores.activity import Author

        repository, tag, digest = parse_name(name)
        author = Author(self._actor)
        if tag:
            frozen = self._is_immutable(repository, tag)
            back = self._removed.restore_tag(repository, tag, digest, author, frozen=frozen)
            return f"{repository}:{tag}@{back}"
        if digest:
            self._removed.restore_manifest(repository, digest, author)
        else:
            self._removed.restore_repository(repository, author)
        return name

    def _is_immutable(self, repository: str, tag: str) -> bool:
        from contextlib import closing

        from ..stores.registry import accounts_of

        with closing(accounts_of(self._folder)) as accounts:
            return accounts.is_immutable(repository, tag)

    def purge(self, name: str) -> int:
        """Let what was deleted be gone for good, within a minute where the registry is served.

        How many entries that are. Raises NotFound, InvalidName.
        """
        repository, tag, digest = parse_name(name)
        return self._removed.purge(repository, tag or digest)

    def retain(self, rules: Sequence[RetentionRule], *, dry_run: bool = False) -> list[ExpiredTag]:
        """Remove the tags that go by rules; which those are, or with `dry_run` would be.

        Immutable tags stay. What goes can be restored for a while.
        """
        from contextlib import closing

        from ..stores.registry import accounts_of
        from ..stores.retention import Retention

        with closing(accounts_of(self._folder)) as accounts:
            retention = Retention(self._catalog, rules, accounts)
            return list(retention.look() if dry_run else retention.remove())

    def webhooks(self, rules: Sequence[WebhookRule]) -> list[WebhookState]:
        """How far those who are told what happens are."""
        return [webhook.state() for webhook in self._webhooks(rules)]

    def test_webhook(self, rules: Sequence[WebhookRule], name: str) -> None:
        """Tell one of something that did not happen. Raises NotFound, RegistryError if it fails."""
        found = next((each for each in self._webhooks(rules) if each.rule.name == name), None)
        if found is None:
            raise NotFound(f"no webhook {name} in the configuration")
        if error := found.test():
            raise RegistryError(f"webhook {name}: {error}")

    def _webhooks(self, rules: Sequence[WebhookRule]) -> list[Webhook]:
        from ..services.server.webhooks import Webhook
        from ..stores.activity import Activity

        activity = Activity(self._catalog)
        return [Webhook(rule, self._catalog, activity, self._post) for rule in rules]

    @property
    def _browsing(self) -> Browsing:
        from ..stores.browsing import Browsing

        return Browsing(self._catalog)

    @property
    def _removed(self) -> RemovedContent:
        from ..stores.removed import RemovedContent

        return RemovedContent(self._catalog)


def repository_of(name: str) -> str:
    """Of a name that is a repository's. Raises InvalidName."""
    repository, tag, digest = parse_name(name)
    if tag or digest:
        raise InvalidName(f"invalid name {name[:300]!r}: expected REPOSITORY")
    return repository


def deletable(name: str) -> tuple[str, str, str]:
    """As `parse_name`, of what can be deleted: a tag or a digest, not both. Raises InvalidName."""
    repository, tag, digest = parse_name(name)
    if tag and digest:
        raise InvalidName(f"invalid name {name[:300]!r}: name either the tag or the digest")
    return repository, tag, digest


def parse_name(name: str) -> tuple[str, str, str]:
    """Repository, tag and digest, "" where there is none."""
    from ..grammars.wire.routes import is_name, is_tag

    rest, at, digest = name.partition("@")
    repository, colon, tag = rest.partition(":")
    if not is_name(repository) or (colon and not is_tag(tag)):
        raise InvalidName(
            f"invalid name {name[:300]!r}: expected REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST"
        )
    return repository, tag, str(Digest(digest)) if at else ""
