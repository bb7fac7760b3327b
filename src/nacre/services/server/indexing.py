"""Indexes of layers, attached beside the requests to images that were pushed, so that they can come lazily.

    record of activity ─► images whose layers lack one ─► layers, read once ─► artifacts

An artifact is the same that a client would attach (`images.arrows.sideindexes`). What cannot have one, or is
damaged, or takes too long is passed over. One process at a time does it, as a rule: two that meet make the
same artifact. One that was killed begins the image that it was at again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...ground.work.throttle import Throttle
from ...images.arrows.sideindexes import attach, attached, make_indexes
from ...images.layers.receive import fetch_small
from ...stores.cached import CachedRepositories
from ...stores.marks import Marks
from ...words.digest import Digest
from ...words.errors import NacreError, StoreError, TooLarge
from ...words.oci import DOCKER_CONFIG, OCI_CONFIG, ImageConfig, Manifest, parse_document
from ...words.reference import Reference
from .jobs import Job
from .repository import LocalSink, LocalSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...stores.activity import ActivityEntry
    from ...words.oci import Descriptor
    from ...words.rules import LazyRules
    from .repository import OwnRegistry

_EVERY = 2.0
_AT_ONCE = 200
_TOLD = ("push", "tag", "restore")
_NAME = "layer indexes"
"""Of the job, of how far it is, and of who the record of activity says did it."""
LONGEST = 3600.0
"""Seconds that one image may take: a small layer may unpack to a very large one."""


class LayerIndexing:
    """Attaches what is missing in one registry. `tell` takes a line for what was attached, `warn` for what
    could not be. `stop` it before its last step is waited for.
    """

    def __init__(
        self, own: OwnRegistry, rules: LazyRules, tell: Callable[[str], object], warn: Callable[[str], object]
    ) -> None:
        self._own, self._tell, self._warn = own, tell, warn
        self._copies, self._marks = CachedRepositories(own.store.catalog), Marks(own.store.catalog)
        self._throttle = Throttle(rules.rate)
        self._stopped = False

    def job(self) -> Job:
        """To be added to those of the registry."""
        return Job(_NAME, self._steps, _EVERY, due=self._is_due)

    def stop(self) -> None:
        """End the image that is under way at its next piece. From any thread."""
        self._stopped = True

    def check(self) -> None:
        """Whether to go on. Raises IndexingStopped."""
        if self._stopped:
            raise IndexingStopped("the registry ends")

    def _is_due(self) -> bool:
        return self._own.activity.newest() > self._last()

    def _last(self) -> int:
        return int(self._marks.get(_NAME) or 0)

    def _steps(self) -> Iterator[int]:
        """An image, or a page of the record, at each step; the last entry that was seen."""
        while entries := self._own.activity.after(self._last(), _AT_ONCE):
            for entry in entries:
                if entry.action in _TOLD and entry.digest:
                    if not self._look(entry):
                        return
                    yield entry.id
            self._marks.set(_NAME, str(entries[-1].id))
            yield entries[-1].id

    def _look(self, entry: ActivityEntry) -> bool:
        """False when it was to end in between. Raises StoreError."""
        try:
            count = self._attach(entry.repository, Digest(entry.digest))
        except IndexingStopped:
            return False
        except StoreError:
            raise
        except NacreError as error:
            self._warn(f"no index for {entry.repository}@{entry.digest}: {error}")
            return True
        if count:
            self._tell(f"attached indexes of {count} layers to {entry.repository}@{entry.digest}")
        return True

    def _attach(self, repository: str, digest: Digest) -> int:
        found = self._own.store.catalog.manifest(repository, digest)
        if found is None or self._copies.is_copy(repository):
            return 0
        pace = _IndexingPace(self.check, self._throttle)
        source, name = LocalSource(self._own, repository, pace), Reference("here", repository, "", digest)
        subject, data = source.resolve(name)
        layers = _layers(source, parse_document(data, subject.media_type))
        there = attached(source, name, digest) if layers else ()
        made = make_indexes(layers, source.fetch, there)
        if made:
            attach(LocalSink(self._own, repository, pace, _NAME), subject, made)
        return len(made)


class IndexingStopped(NacreError):
    """It was to end; nothing is wrong."""


class _IndexingPace:
    """That of one image: a `CopyPace`."""

    def __init__(self, check: Callable[[], None], throttle: Throttle) -> None:
        self._check, self._throttle, self._end = check, throttle, time.monotonic() + LONGEST

    def check(self) -> None:
        """Whether to go on. Raises IndexingStopped, TooLarge."""
        self._check()
        if time.monotonic() > self._end:
            raise TooLarge(f"its layers take longer than {LONGEST:g} seconds to be read")

    def meter(self) -> Callable[[int], None]:
        """Waits, so that others can work; raises as `check`."""

        def passed(count: int) -> None:
            self.check()
            self._throttle.take(count)

        return passed


def _layers(source: LocalSource, document: object) -> Sequence[tuple[Descriptor, Digest]]:
    """Of an image, with their diff ids; none of anything else."""
    if not isinstance(document, Manifest) or document.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        return ()
    config = ImageConfig.parse(fetch_small(source, document.config, "config"))
    return tuple(zip(document.layers, config.diff_ids, strict=False))
