"""Caches from elsewhere: asked at the first miss here, and their layers brought only where they are needed.

A step that such a cache has counts as done at once. Its layer is known by digest and diff id, which is all
that the keys of later steps want; it comes when a step must be done over it, or when the image is written.
"""

from __future__ import annotations

from ...words.errors import CacheIncomplete, CacheUnusable, ContentError, NacreError, NotFound, RegistryError
from ...words.light import cached_property

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Protocol

    from ...grammars.buildcache import CachedStep
    from ...ground.work.budget import Budget
    from ...images.model.source import Source
    from ...stores.store import Store
    from ...words.digest import Digest
    from ...words.oci import Descriptor
    from ...words.progress import Progress
    from .report import BuildReport

    class FoundCache(Protocol):
        """A cache that was read; `steps` by key."""

        name: str
        source: Source
        steps: Mapping[str, CachedStep]

        def forked(self) -> None:
            """This is a fork, which uses it from now on."""

        def bring(
            self, store: Store, layers: Sequence[tuple[Descriptor, Digest]], progress: Progress,
            budget: Budget,
        ) -> None:  # fmt: skip
            """Bring layers into the store. Raises NacreError."""

    Opener = tuple[str, Callable[[], FoundCache]]
    """What a cache is called, and what reads it."""


class ImportedCaches:
    """The caches of one build, the first of which has the say; nothing is asked before the first miss."""

    def __init__(self, openers: Sequence[Opener] = (), report: BuildReport | None = None) -> None:
        self._openers, self._report, self._whole = openers, report, False
        self._absent: dict[Digest, str] = {}
        self._lacking: dict[Digest, tuple[Descriptor, FoundCache]] = {}

    def __bool__(self) -> bool:
        return bool(self._openers)

    @cached_property
    def _caches(self) -> list[FoundCache]:
        found = [self._read(name, opener) for name, opener in self._openers]
        return [cache for cache in found if cache is not None]

    def _read(self, name: str, opener: Callable[[], FoundCache]) -> FoundCache | None:
        """One that cannot be read is told of, and passed over, as with docker."""
        assert self._report is not None
        step = self._report.step(f"importing cache manifest from {name}")
        step.begin()
        try:
            return opener()
        except NacreError as error:
            step.line(f"WARNING: no cache from {name}: {error.message}")
        finally:
            step.done()
        return None

    def whole(self) -> ImportedCaches:
        """The same caches, for another try that does not find steps whose layers they do not hold."""
        again = ImportedCaches(self._openers, self._report)
        again._whole, again._caches = True, self._caches
        return again

    def find(self, key: str) -> CachedStep | None:
        """The step with this key."""
        for cache in self._caches:
            step = cache.steps.get(key)
            if step is not None and not (step.is_absent and self._whole):
                self._note(step, cache)
                return step
        return None

    def _note(self, step: CachedStep, cache: FoundCache) -> None:
        if step.layer and step.is_absent:
            self._absent[step.layer[1]] = cache.name
        elif step.layer:
            self._lacking.setdefault(step.layer[1], (step.layer[0], cache))

    def beside(self, step: CachedStep) -> list[CachedStep]:
        """The steps that have the same layer, in a cache that has this very step."""
        for cache in self.__dict__.get("_caches", ()):
            if step.layer and cache.steps.get(step.key) == step:
                return [other for other in cache.steps.values() if other.layer == step.layer]
        return []

    def check(self, store: Store, diff_ids: Iterable[Digest]) -> None:
        """Raises CacheIncomplete for one that is neither here nor in a cache that was asked."""
        absent = [one for one in diff_ids if one in self._absent and one not in self._lacking]
        for diff_id in store.trees.missing(absent) if absent else ():
            raise CacheIncomplete(f"the cache {self._absent[diff_id]} does not hold layer {diff_id.short}")

    def lacking(self, diff_ids: Iterable[Digest]) -> list[Digest]:
        """Those that were found in a cache, and have not been brought."""
        return [diff_id for diff_id in dict.fromkeys(diff_ids) if diff_id in self._lacking]

    @property
    def elsewhere(self) -> dict[Digest, FoundCache]:
        """Layers that were found and have not been brought, by their digests, and where they are."""
        return {layer.digest: cache for layer, cache in self._lacking.values()}

    def bring(self, store: Store, diff_ids: Iterable[Digest], progress: Progress) -> None:
        """See that these are here, as far as they are from a cache. Raises CacheUnusable."""
        wanted: dict[str, tuple[FoundCache, list[tuple[Descriptor, Digest]]]] = {}
        for diff_id in self.lacking(diff_ids):
            layer, cache = self._lacking[diff_id]
            wanted.setdefault(cache.name, (cache, []))[1].append((layer, diff_id))
        for name, (cache, layers) in wanted.items():
            try:
                cache.bring(store, layers, progress, store.budget)
            except (NotFound, RegistryError, ContentError) as error:
                raise CacheUnusable(f"the cache {name} cannot be used: {error.message}") from None
            self.brought(diff_id for _, diff_id in layers)

    def brought(self, diff_ids: Iterable[Digest]) -> None:
        """They are here now."""
        for diff_id in diff_ids:
            self._lacking.pop(diff_id, None)

    def forked(self) -> None:
        """This is a fork, in its only thread, and uses the caches from now on."""
        for cache in self.__dict__.get("_caches", ()):
            cache.forked()
