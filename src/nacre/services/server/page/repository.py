"""A repository: what it is for, its tags, and how to get them."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ....grammars.wire.conditions import Conditions, etag
from ....grammars.wire.routes import is_tag
from ....stores.accounts.model import Role
from ....stores.browsing import MOST_COUNTED, MOST_README, MOST_SUMMARY, Browsing
from ....stores.catalog import WriteConditions
from ....words.digest import Digest
from ....words.errors import NacreError, NotFound
from ....words.oci import Manifest
from ..access import author_of
from .documents import CONFIG_TYPES
from .location import link
from .readme import render
from .visit import Shown, sent_to

if TYPE_CHECKING:
    from ....stores.browsing import TagLine
    from ..state import RegistryState
    from .documents import Documents, Opened
    from .visit import Visit

_PAGE = 25
_FIRST = 5
_KEPT = 64
"""READMEs that are kept as HTML: one that attacks takes a second."""
_DESCRIPTION = "org.opencontainers.image.description"
_FACTS = (
    ("org.opencontainers.image.source", "Source"), ("org.opencontainers.image.url", "Home page"),
    ("org.opencontainers.image.documentation", "Documentation"),
    ("org.opencontainers.image.licenses", "Licence"), ("org.opencontainers.image.vendor", "Vendor"),
    ("org.opencontainers.image.authors", "Authors"),
)  # fmt: skip
_MARKDOWN = "text/markdown"
_MOST_REFERRERS = 50


class TagRow(NamedTuple):
    """A tag as the list shows it: `size` in bytes of the image that most people pull, `platforms` by name."""

    tag: str
    digest: str
    updated: float
    kind: str
    size: int | None
    platforms: tuple[str, ...]


class RepositoryViews:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState, documents: Documents) -> None:
        self._state, self._work, self._documents = state, state.work, documents
        self._browsing = Browsing(state.catalog)
        self._rendered = lru_cache(_KEPT)(render)
        self.views = {
            "repository/": self.show, "repository/tags": self.tags, "repository/edit": self.edit,
            "repository/delete": self.ask_to_delete,
        }  # fmt: skip
        self.forms = {"repository/edit": self.describe, "repository/delete": self.delete}

    async def show(self, visit: Visit) -> Shown:
        """What it is for, its newest tags and the command that pulls it."""
        head, name = await head_of(self._state, self._browsing, visit), visit.location.repository
        newest = await self._work.run(self._browsing.newest, name, "", (1e18, ""), _FIRST)
        tag = await self._default_tag(name, newest)
        opened = await self._opened(name, tag)
        notes = await self._notes(name, opened)
        readme = head["about"].readme or await self._attached(name, opened)
        values = {
            **head, "summary": head["summary"] or notes.get(_DESCRIPTION, ""), "rows": newest,
            "readme": await self._work.run(self._rendered, readme), "facts": _facts(notes), "tab": "",
            "tag": tag,
        }  # fmt: skip
        return Shown("repository.html", values)

    async def tags(self, visit: Visit) -> Shown:
        """All tags, a page of them, by age or by name, with a text in them."""
        name = await named_by(self._state, visit)
        text, order, last = visit.word("q"), visit.word("order"), visit.word("last")
        lines = await self._work.run(self._lines, name, text, order, last)
        more = _key(lines[_PAGE - 1], order) if len(lines) > _PAGE else ""
        rows = [await self._row(name, line) for line in lines[:_PAGE]]
        values = {"rows": rows, "more": more, "text": text, "order": order, "name": name, "last": last}
        if visit.is_fragment:
            return Shown("tagrows.html", values)
        return Shown(
            "tags.html", {**values, **await head_of(self._state, self._browsing, visit), "tab": "tags"}
        )

    def _lines(self, name: str, text: str, order: str, last: str) -> list[TagLine]:
        if order == "name":
            return self._browsing.tags(name, text, last, _PAGE + 1)
        return self._browsing.newest(name, text, _moment(last), _PAGE + 1)

    async def _row(self, name: str, line: TagLine) -> TagRow:
        try:
            opened = await self._documents.open(name, line.digest)
            images = await self._documents.images(name, opened)
        except NacreError:
            return TagRow(line.tag, line.digest, line.updated, "damaged", None, ())
        kind = kind_of(opened)
        shown = tuple(image.platform for image in images if image.platform)
        sizes = [image.size for image in images if image.size is not None]
        return TagRow(line.tag, line.digest, line.updated, kind, sizes[0] if sizes else None, shown)

    async def _default_tag(self, name: str, newest: list[TagLine]) -> str:
        """`latest`, or without one the newest."""
        if await self._work.ask(self._state.catalog.manifest, name, "latest"):
            return "latest"
        return newest[0].tag if newest else ""

    async def _opened(self, name: str, tag: str) -> Opened | None:
        try:
            return await self._documents.open(name, tag) if tag else None
        except NacreError:
            return None

    async def _notes(self, name: str, opened: Opened | None) -> dict[str, str]:
        """Labels and annotations of an image; what its manifest says counts more."""
        if opened is None:
            return {}
        notes = dict(opened.document.annotations)
        images = await self._documents.images(name, opened)
        for image in images[:1]:
            try:
                inner = await self._documents.open(name, image.digest)
            except NacreError:
                continue
            notes = {**dict(inner.document.annotations), **notes}
            if isinstance(inner.document, Manifest):
                config = await self._documents.config(name, inner.document)
                notes = {**(config.labels if config else {}), **notes}
        return notes

    async def _attached(self, name: str, opened: Opened | None) -> str:
        """The README that was attached to an image: the Markdown of a referrer of the type text/markdown."""
        if opened is None:
            return ""
        values = (name, opened.digest, _MARKDOWN, "", _MOST_REFERRERS)
        found = await self._work.run(self._state.catalog.referrers, *values)
        for referrer in found:
            try:
                text = await self._markdown(name, referrer.digest)
            except NacreError:
                continue
            if text:
                return text
        return ""

    async def _markdown(self, name: str, digest: str) -> str:
        opened = await self._documents.open(name, digest)
        layers = opened.document.layers if isinstance(opened.document, Manifest) else ()
        for layer in layers:
            if (
                layer.media_type == _MARKDOWN
                and layer.size <= 4 * MOST_README
                and await self._is_here(name, layer.digest)
            ):
                return (await self._state.cache.read(layer.digest)).decode("utf-8", "replace")
        return ""

    async def _is_here(self, name: str, digest: Digest) -> bool:
        return await self._work.ask(self._state.catalog.blob, name, digest) is not None

    async def edit(self, visit: Visit) -> Shown:
        """A form for what people write about the repository."""
        visit.require(Role.WRITE)
        head = await head_of(self._state, self._browsing, visit)
        return Shown("edit.html", {**head, "tab": "edit", "most_summary": MOST_SUMMARY})

    async def describe(self, visit: Visit) -> Shown:
        """Take the form that `edit` shows. Raises UsageError."""
        visit.require(Role.WRITE)
        name = await named_by(self._state, visit)
        summary, readme = visit.fields.get("summary", ""), visit.fields.get("readme", "")
        readme = readme.replace("\r\n", "\n")
        await self._work.run(self._browsing.describe, name, summary, readme, visit.user)
        return sent_to(link(repository=name))

    async def ask_to_delete(self, visit: Visit) -> Shown:
        """A form that deletes a tag, and what that means."""
        visit.require(Role.DELETE)
        name, tag = await named_by(self._state, visit), visit.location.reference
        stored = await self._work.ask(self._state.catalog.manifest, name, tag) if is_tag(tag) else None
        if stored is None:
            raise NotFound(f"{name} has no tag {tag[:150]}")
        aliases = await self._work.run(self._browsing.named, name, (stored.digest,))
        values = {
            "name": name, "tag": tag, "digest": stored.digest, "grace": self._state.rules.garbage.grace,
            "others": [each for each in aliases if each != tag],
        }  # fmt: skip
        return Shown("delete.html", values)

    async def delete(self, visit: Visit) -> Shown:
        """Take that form. Raises RegistryError (412) when the tag names something else by now."""
        visit.require(Role.DELETE)
        name, tag = await named_by(self._state, visit), visit.location.reference
        digest = Digest(visit.fields.get("digest", ""))
        guard = WriteConditions(tag, Conditions(etag(digest), ""))
        delete = partial(self._state.catalog.delete_tag, name, tag, guard, author_of(visit.request))
        await self._work.run(self._state.store.freeing, delete)
        return sent_to(link("tags", name))


async def named_by(state: RegistryState, visit: Visit) -> str:
    """The repository that a location names. Raises NotFound."""
    name = visit.location.repository
    if not await state.work.ask(state.catalog.exists, name):
        raise NotFound(f"there is no repository {name}, or none that you may see")
    return name


async def head_of(state: RegistryState, browsing: Browsing, visit: Visit) -> dict[str, Any]:
    """What every page of a repository shows. Raises NotFound."""
    name = await named_by(state, visit)
    about = await state.work.run(browsing.about, name)
    return {
        "name": name, "about": about, "summary": about.summary,
        "count": await state.work.run(browsing.count_tags, name), "most": MOST_COUNTED,
        "can_write": visit.may(Role.WRITE, name), "can_administer": visit.may(Role.ADMIN, name),
    }  # fmt: skip


def kind_of(opened: Opened) -> str:
    """What a tag names, in a word: `image`, `index`, or the type of an artifact."""
    document = opened.document
    if document.artifact_type:
        return document.artifact_type
    if not isinstance(document, Manifest):
        return "index"
    return "image" if document.config.media_type in CONFIG_TYPES else document.config.media_type


def _facts(notes: dict[str, str]) -> list[tuple[str, str, bool]]:
    """Title, text, and whether that is a link which may be followed."""
    return [
        (title, notes[key][:300], notes[key].startswith(("https://", "http://")))
        for key, title in _FACTS if notes.get(key)
    ]  # fmt: skip


def _key(line: TagLine, order: str) -> str:
    return line.tag if order == "name" else f"{line.updated!r} {line.tag}"


def _moment(text: str) -> tuple[float, str]:
    """Where a list by age goes on."""
    when, _, tag = text.partition(" ")
    try:
        return (float(when), tag) if when else (1e18, "")
    except ValueError:
        return 1e18, ""
