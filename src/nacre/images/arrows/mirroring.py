"""Mirror: many tags of one repository kept the same elsewhere, moving what has changed.

    tags of the source ∩ patterns ──► a HEAD each ──► as remembered? ──► nothing
                                                      else copy (a GET, and what it needs)
    tags of the target                one list: a tag that is gone there is copied again

What a run has put or found at a target is remembered in a table: tag → what the source said, what the target
holds. An unchanged tag costs one manifest request, at the source. A tag that somebody else has moved at the
target is seen when it is looked at again: after a week, or with `verify`.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from threading import Lock

from ...ground.files import private_dir, read_bounded, write_atomic
from ...ground.work.budget import Budget
from ...ground.work.pipe import Stopped
from ...ground.work.threads import in_parallel
from ...words.digest import Digest
from ...words.errors import (
    InvalidName,
    NacreError,
    NotFound,
    RegistryError,
    Unauthorized,
    Unreachable,
    Unsupported,
    UsageError,
)
from ...words.oci import Descriptor, encode_json
from ...words.progress import NullProgress, Progress
from ...words.quickjson import loads
from ...words.reference import Reference
from ...words.value import Value
from ..model.blobinfo import BlobInfoCache
from ..places.layout import LayoutFolder
from .copying import Choice, Claims, copy, cosign_tags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event
    from typing import Any, Protocol

    from ...grammars.config.mirrors import MirrorEntry
    from ...stores.paths import Paths
    from ..model.source import Referring, TagAwareSink

    class MirrorSource(Referring, Protocol):
        """A repository to mirror."""

        def tags(self) -> Iterator[str]:
            """All tags of the repository."""

        def head(self, reference: Reference) -> Descriptor | None:
            """What a tag means, without moving it."""

    class MirrorTarget(TagAwareSink, Protocol):
        """A place to mirror to."""

        def tags(self) -> Iterator[str]:
            """All tags of the repository."""

        def delete(self, target: str) -> None:
            """Drop a tag or a manifest."""


WEEK = 7 * 24 * 3600.0
COPIED, UNCHANGED, FAILED, PRUNED, KEPT = "copied", "unchanged", "failed", "pruned", "kept"
_AT_ONCE = 8
_BLOBS_AT_ONCE = 4
_MAX_TABLE = 64 << 20


class Outcome(Value):
    """What became of one tag. `moved` counts bytes; `error` says why it failed."""

    source: str
    target: str
    tag: str
    status: str
    digest: str = ""
    moved: int = 0
    error: str = ""


class Row(Value):
    """What is known of a tag: `source` is the digest that the source said, `target` what the target holds.

    `choice` says what was copied of it, `referrers` which, `looked` when the target was last asked (seconds
    since 1970).
    """

    source: str
    target: str
    choice: str
    referrers: str
    looked: float


class Table:
    """The rows of one target in a file. Safe for threads; of two processes the later one wins, row by row.

    A file that cannot be read is an empty one: everything is looked at again.
    """

    def __init__(self, folder: str, target: str) -> None:
        self._folder, self._lock, self._target = folder, Lock(), target
        self.path = f"{folder}/{Digest.of(target.encode()).hex}.json"
        self._rows = self._load()
        self._changed: dict[str, Row | None] = {}

    def _load(self) -> dict[str, Row]:
        try:
            with open(self.path, "rb") as file:
                found = loads(read_bounded(file.read, _MAX_TABLE, self.path))
            tags = found["tags"] if found["target"] == self._target else {}
            return {tag: _row(*fields) for tag, fields in tags.items()}
        except (OSError, NacreError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            return {}

    def get(self, tag: str) -> Row | None:
        """What is remembered of a tag."""
        with self._lock:
            return self._rows.get(tag)

    def set(self, tag: str, row: Row | None) -> None:
        """Record `row` for `tag`; None removes it."""
        with self._lock:
            self._changed[tag] = row
            if row is None:
                self._rows.pop(tag, None)
            else:
                self._rows[tag] = row

    def save(self) -> None:
        """Write down what has changed since. Raises StoreError."""
        if not self._changed:
            return
        rows = self._load()
        for tag, row in self._changed.items():
            rows.pop(tag, None)
            if row is not None:
                rows[tag] = row
        private_dir(self._folder)
        tags = {tag: list(row._astuple()) for tag, row in sorted(rows.items())}
        write_atomic(self.path, encode_json({"target": self._target, "tags": tags}))
        self._changed.clear()


def _row(source: object, target: object, choice: object, referrers: object, looked: object) -> Row:
    return Row(str(source), str(target), str(choice), str(referrers), float(str(looked)))


class Rules(Value):
    """How a mirror goes about it. `budget` None: this machine's.

    `keep`: a tag of the target that names something else than what was mirrored there stays.
    """

    dry_run: bool = False
    prune: bool = False
    verify: bool = False
    budget: Budget | None = None
    clock: Callable[[], float] = staticmethod(time.time)
    keep: bool = False


class Mirror:
    """One repository and the place where it is kept the same."""

    def __init__(
        self, entry: MirrorEntry, source: MirrorSource, target: MirrorTarget, paths: Paths, rules: Rules,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        """`source` and `target` are what the entry names; what was mirrored is remembered at `paths`."""
        self._source, self._reference, self._target, self._name = source, entry.source, target, entry.target
        self._allows, self._rules = entry.wants, rules
        self._table = Table(paths.mirrors, entry.target)
        budget = (rules.budget or Budget.of_machine()).usually(_BLOBS_AT_ONCE)
        self._choice = Choice(
            entry.platform, entry.platform is None, entry.referrers, budget, exact=True, claims=Claims(),
            seen=BlobInfoCache(paths.seen),
        )  # fmt: skip
        self._progress = progress or NullProgress()

    def run(self, tell: Callable[[Outcome], object]) -> None:
        """`tell` is called for each tag, from several threads. Raises only what ends all of it."""
        try:
            wanted = sorted({tag for tag in self._source.tags() if self._wants(tag)})
            there = self._there()
        except NacreError as error:
            tell(self._outcome("", FAILED, error=error.message))
            return
        try:
            in_parallel(lambda tag, stop: tell(self._tag(tag, tag in there, stop)), wanted, _AT_ONCE)
            if self._rules.prune:
                self._prune(wanted, there, tell)
        finally:
            self._table.save()

    def _wants(self, tag: str) -> bool:
        return self._allows(tag) and not is_referrers_tag(tag)

    def _there(self) -> set[str]:
        try:
            return set(self._target.tags())
        except NotFound:
            return set()

    def _outcome(self, tag: str, status: str, **more: Any) -> Outcome:
        return Outcome(self._reference.familiar_name, self._name, tag, status, **more)

    def _tag(self, tag: str, there: bool, stop: Event) -> Outcome:
        if stop.is_set():
            raise Stopped("the mirror was stopped")
        try:
            return self._mirror(tag, there)
        except Stopped:
            raise
        except NacreError as error:
            return self._outcome(tag, FAILED, error=error.message)

    def _mirror(self, tag: str, there: bool) -> Outcome:
        reference = self._reference.replace(tag=tag, digest=None)
        said = self._source.head(reference) or self._source.resolve(reference)[0]
        referring = self._referring(said)
        row = self._table.get(tag)
        if row and there and self._is_known(row, said, referring) and self._holds(tag, row):
            return self._outcome(tag, UNCHANGED, digest=row.target)
        if there and self._rules.keep and self._is_of_others(tag, row, said):
            return self._outcome(tag, KEPT)
        if self._rules.dry_run:
            return self._compared(tag, said)
        # by digest: what the HEAD spoke of, whatever the tag means by now
        fixed = reference.replace(digest=said.digest)
        done = copy(self._source, fixed, self._target, tag, self._choice, self._progress)
        self._remember(tag, said, done.digest, referring)
        status = COPIED if done.changed or done.referrers else UNCHANGED
        return self._outcome(tag, status, digest=done.digest, moved=done.moved)

    def _compared(self, tag: str, said: Descriptor) -> Outcome:
        """For a dry run, of a tag that the table does not know."""
        same = self._choice.all and not self._choice.referrers and self._target.holds(tag, said)
        return self._outcome(tag, UNCHANGED if same else COPIED, digest=said.digest)

    def _referring(self, said: Descriptor) -> str:
        """Which artifacts refer to the image, in one word; they come and go without the tag."""
        if not self._choice.referrers:
            return ""
        found = sorted(entry.digest for entry in self._source.referrers(said.digest))
        found += filter(None, map(self._tagged, cosign_tags(said.digest)))
        return Digest.of("\n".join(found).encode()).short

    def _tagged(self, tag: str) -> Digest | None:
        try:
            head = self._source.head(self._reference.replace(tag=tag, digest=None))
        except NotFound:
            return None
        return head.digest if head else None

    def _is_known(self, row: Row, said: Descriptor, referring: str) -> bool:
        return (row.source, row.choice, row.referrers) == (said.digest, self._chosen(), referring)

    def _chosen(self) -> str:
        return "all" if self._choice.all else str(self._choice.platform)

    def _holds(self, tag: str, row: Row) -> bool:
        """Whether the target still has what the table says: believed for a week."""
        now = self._rules.clock()
        if not self._rules.verify and 0 <= now - row.looked < WEEK:
            return True
        try:
            held = self._target.holds(tag, Descriptor("", Digest(row.target), 0))
        except InvalidName:
            return False
        if held and not self._rules.dry_run:
            self._table.set(tag, row.replace(looked=now))
        return held

    def _is_of_others(self, tag: str, row: Row | None, said: Descriptor) -> bool:
        """Names a tag of the target neither what it should nor what was put there?"""
        ours = [said.digest, Digest(row.target)] if row else [said.digest]
        return not any(self._target.holds(tag, Descriptor("", digest, 0)) for digest in ours)

    def _remember(self, tag: str, said: Descriptor, held: Digest, referring: str) -> None:
        self._table.set(tag, Row(said.digest, held, self._chosen(), referring, self._rules.clock()))

    def _prune(self, wanted: list[str], there: set[str], tell: Callable[[Outcome], object]) -> None:
        """Drop tags of the target that the patterns let through and the source has no more."""
        gone = sorted(tag for tag in there if self._wants(tag) and tag not in set(wanted))
        if gone and not wanted:
            said = "the source has no matching tag, so nothing was pruned"
            tell(self._outcome("", FAILED, error=said))
            return
        for tag in gone:
            tell(self._pruned(tag, there - set(gone)))

    def _pruned(self, tag: str, staying: set[str]) -> Outcome:
        if self._rules.dry_run:
            return self._outcome(tag, PRUNED)
        try:
            self._delete(tag, staying)
        except NacreError as error:
            return self._outcome(tag, FAILED, error=error.message)
        self._table.set(tag, None)
        return self._outcome(tag, PRUNED)

    def _delete(self, tag: str, staying: set[str]) -> None:
        """By tag; where a registry deletes by digest only, so that no other tag loses its manifest."""
        try:
            self._target.delete(tag)
        except (Unauthorized, Unreachable):
            raise
        except RegistryError:
            head: Callable[[Reference], Descriptor | None] = self._target.head  # type: ignore[attr-defined]
            place = self._reference.replace(digest=None)
            found = head(place.replace(tag=tag))
            kept = {entry.digest for other in staying if (entry := head(place.replace(tag=other)))}
            if found is None or found.digest in kept:
                raise Unsupported(
                    f"{self._name}:{tag} cannot be deleted: its registry deletes only by digest, and another "
                    "tag has the same one"
                ) from None
            self._target.delete(found.digest)


def is_referrers_tag(tag: str) -> bool:
    """Whether a tag stands in for the referrers API: it is kept by whoever pushes, and no image.

    Source: distribution-spec v1.1, "Referrers tag schema".
    """
    try:
        Digest(tag.replace("-", ":", 1))
    except InvalidName:
        return False
    return True


def mirror_all(
    entries: Sequence[MirrorEntry], repository: Callable[[Reference], Any], paths: Paths, rules: Rules,
    tell: Callable[[Outcome], object], *, progress: Progress | None = None,
) -> None:  # fmt: skip
    """Every entry of a list, one after the other.

    A failure is told, and the next tag goes on. `tell` is called from several threads. Raises StoreError
    when the table cannot be kept.
    """
    for entry in entries:
        try:
            with _opened(entry.target, repository, rules) as target:
                source = repository(entry.source)
                Mirror(entry, source, target, paths, rules, progress).run(tell)
        except (RegistryError, InvalidName, UsageError) as error:
            name = entry.source.familiar_name
            tell(Outcome(name, entry.target, "", FAILED, error=error.message))


@contextmanager
def _opened(text: str, repository: Callable[[Reference], Any], rules: Rules) -> Iterator[MirrorTarget]:
    if not text.startswith("oci:"):
        yield repository(Reference.parse(text))
    elif rules.dry_run and not os.path.isdir(text[4:]):
        with TemporaryDirectory() as empty:
            yield from _folder(empty)
    else:
        yield from _folder(text[4:])


def _folder(path: str) -> Iterator[MirrorTarget]:
    folder = LayoutFolder(path)
    try:
        yield folder
    finally:
        folder.close()
