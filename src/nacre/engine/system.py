"""The store as a whole: verified, mended, swept, removed."""

from __future__ import annotations

from .. import __version__
from ..words.errors import DamagedStore
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..images.audit.cacheusage import CacheRecord
    from ..images.audit.check import Report
    from ..images.audit.finding import Finding
    from ..images.audit.usage import Kind
    from ..stores.containers import ContainerRow
    from ..stores.eventlog import StoreEvent
    from ..stores.rebuild import Rebuilt
    from ..stores.store import Store
    from ..stores.sweep import Freed
    from ..words.digest import Digest
    from ..words.oci import ImageConfig, Platform
    from ..words.progress import Progress
    from .buildhistory import BuildRecord
    from .wiring import Wiring


class Info(Value):
    """What a store has, and why it is used the way it is; `lazy` says why no image can come lazily.

    `lazy_by_fuse`: layers that come lazily are shown by a process of nacre.
    """

    version: str
    root: str
    driver: str
    driver_reason: str
    layer_blobs: str
    lazy: str
    lazy_by_fuse: bool
    containers: int
    running: int
    images: int


class System:
    """What concerns an engine's store as a whole."""

    def __init__(self, engine: Wiring) -> None:
        self._engine = engine

    def events(self, *, since: float | None = None, until: float | None = None) -> Iterator[StoreEvent]:
        """What happens to containers, images, volumes and networks, from `since` to `until` (since 1970).

        Without `since` from now on; without `until`, or with one to come, it waits for more.
        """
        from ..stores.eventlog import read_events

        return read_events(self._engine.store.root, since, until)

    def info(self) -> Info:
        """Counts, and the driver with the reason for it."""

        from .filling import obstacle

        def work(store: Store) -> Info:
            rows = store.containers.list(all=True)
            return Info(
                __version__, store.root, store.driver.name, store.driver.why, store.keeping.why,
                obstacle(store), store.trees.lazy.is_served, len(rows),
                sum(row.state == "running" for row in rows), len(store.refs.images()),
            )  # fmt: skip

        return self._engine.inside(work)

    def platforms(self) -> list[Platform]:
        """Those whose programs this machine executes, by itself or by an emulator; its own is the first."""
        from ..ground.foreign import architectures, executes
        from ..words.oci import Platform

        own = Platform.host()
        others = [name for name in architectures() if name != own.architecture and executes(name)]
        return [own, *(Platform("linux", name) for name in others)]

    def summary(self) -> tuple[tuple[Kind, ...], int]:
        """As `Engine.disk_usage`, by kinds alone, and bytes that pruning everything frees; much quicker."""
        from ..images.audit.usage import disk_summary

        return self._engine.inside(disk_summary)

    def check(self, *, repair: bool = False, progress: Progress | None = None) -> Report:
        """As `Engine.check`, and with `repair` the database is made again first where it is damaged."""
        try:
            return self._engine.inside(lambda store: self._checked(repair, progress))
        except DamagedStore:
            if not repair:
                raise
        first = _finding(self.rebuild())
        report = self._engine.inside(lambda store: self._checked(repair, progress))
        return report.replace(findings=(*first, *report.findings))

    def _checked(self, repair: bool, progress: Progress | None) -> Report:
        from ..images.audit.check import check
        from .transfers import repository

        engine = self._engine
        return check(
            engine.store, repair=repair, progress=progress, sources=lambda name: repository(engine, name)
        )

    def refuse_damaged(self) -> None:
        """Raises DamagedStore where the database of a store that is there has values that cannot be."""
        from ..stores.layout import has_content
        from ..stores.rebuild import refuse_damaged

        self._engine.drop_store()
        if has_content(self._engine.root):
            self._engine.inside(refuse_damaged)

    def rebuild(self) -> Rebuilt:
        """Make the database again, as far as it is gone or damaged, of what is left of it and the content."""
        self._engine.drop_store()
        return self._engine.entered(lambda: _rebuild(self._engine))

    def sweep(
        self, *, images: str = "none", containers: str = "none", build_cache: bool = False,
        downloads: bool = False, shed: bool = False,
        image_picked: Callable[[ImageConfig | None], bool] | None = None,
        container_picked: Callable[[ContainerRow], bool] | None = None, cache_before: float = float("inf"),
    ) -> Freed:  # fmt: skip
        """Free what nothing needs, and what is named here besides; what that was.

        `images`: dangling forgets those without a name, all those that no container uses. `containers`:
        stopped forgets those that do not run. `build_cache`, `downloads` (interrupted ones) and `shed` (blobs
        of layers that can be had again) free those. Of these only what is picked, by an image's config (None
        where it cannot be read), a container's row, and when the cache was last used at the latest.
        """
        from ..services.containers.limits import lift_dead
        from ..stores import reserve
        from ..stores.marking import SweepOptions
        from ..stores.sweep import sweep

        reserve.release(self._engine.root)  # the disk may be full
        wishes = SweepOptions(
            images, build_cache, containers, -1.0 if downloads else SweepOptions.max_age, shed,
            container_picked=container_picked, cache_before=cache_before,
        )  # fmt: skip

        def work(store: Store) -> Freed:
            lift_dead(store)
            if image_picked is None:
                return sweep(store, wishes)
            return sweep(store, wishes.replace(image_picked=lambda one: image_picked(_config(store, one))))

        freed: Freed = self._engine.inside(work)
        for kind, asked in (("container", containers), ("image", images)):
            if asked != "none":
                self._engine.tell(kind, "prune", "", reclaimed=str(freed.bytes))
        return freed

    def cache(self) -> list[CacheRecord]:
        """The parts of the build cache, the last used first."""
        from ..images.audit.cacheusage import cache_records

        found: list[CacheRecord] = self._engine.inside(cache_records)
        return found

    def prune_cache(
        self, *, picked: Callable[[CacheRecord], bool] | None = None, max_used_space: int = 0,
        reserved_space: int = 0, min_free_space: int = 0,
    ) -> tuple[list[CacheRecord], Freed]:  # fmt: skip
        """Free parts of the build cache for which `picked` is true; which those are, and what was freed.

        With limits in bytes only the least recently used of them go: until no more than `max_used_space` is
        left and `min_free_space` of the disk is free, but never below `reserved_space`.
        """
        from .buildcache import prune

        limits = max_used_space, reserved_space, min_free_space
        done: tuple[list[CacheRecord], Freed] = self._engine.inside(
            lambda store: prune(store, limits, picked)
        )
        return done

    def builds(self, *, checkout: str = "") -> list[BuildRecord]:
        """The records of builds, those that are at work first, then the newest.

        `checkout` is a folder: only those of the repository that it was cloned from. Raises NotFound.
        """
        from .buildhistory import builds, repository_of

        found: list[BuildRecord] = self._engine.inside(builds)
        origin = repository_of(checkout) if checkout else ""
        return [one for one in found if origin in ("", one.repository)]

    def build(self, ref: str = "") -> BuildRecord:
        """One of them: by its name, `^N` for that many before the newest, "" for the newest.

        Raises NotFound, UsageError.
        """
        from .buildhistory import find

        found: BuildRecord = self._engine.inside(lambda store: find(store, ref))
        return found

    def build_log(self, ref: str, progress: Callable[[Callable[[], float]], Progress]) -> None:
        """Tell the log of a build again: `progress` is called with a clock, the time when it was told first.

        Raises NotFound, UsageError.
        """
        from .buildhistory import log_of, replay

        started, events = self._engine.inside(lambda store: log_of(store, ref))
        replay(started, events, progress)

    def build_attachment(
        self, ref: str = "", digest: str = "", *, type: str = "", platform: str = ""
    ) -> bytes:  # fmt: skip
        """A document about a build, by its digest or type: its manifest, config (image), provenance or SBOM.

        Raises NotFound, also for an image that is gone, UsageError.
        """
        from .buildhistory import attachment

        found: bytes = self._engine.inside(lambda store: attachment(store, ref, digest, type, platform))
        return found

    def remove_builds(self, refs: Sequence[str] = (), *, all: bool = False) -> list[str]:
        """Forget records of builds that are over, not what they built; their names. Raises NotFound."""
        from .buildhistory import remove_builds

        gone: list[str] = self._engine.inside(lambda store: remove_builds(store, refs, all=all))
        return gone

    def check_reset(self) -> None:
        """Raises NotFound, StoreError, Conflict for what `reset` would refuse."""
        from ..stores.reset import check

        self._engine.entered(lambda: check(self._engine.root))

    def reset(self) -> tuple[int, list[str]]:
        """Remove the store, whatever state it is in; bytes of disk, and paths that are not nacre's and stay.

        The engine is closed. Raises NotFound, StoreError for a folder that is no store, Conflict while
        another process works in it.
        """
        from ..services.containers.keeper import end
        from ..stores.reset import reset

        self._engine.close()
        return self._engine.entered(lambda: reset(self._engine.root, end))


def _rebuild(engine: Wiring) -> Rebuilt:
    from ..stores.layout import has_content
    from ..stores.rebuild import Rebuilt, rebuild

    if not has_content(engine.root):
        return Rebuilt("")
    return rebuild(engine.root, single=engine.mapping.single if engine.mapping else None)


def _finding(made: Rebuilt) -> tuple[Finding, ...]:
    from ..images.audit.finding import Fault, Finding, Mended, Remedy

    if not made.problem:
        return ()
    counts = f"{made.names} names, {made.images} images, {made.trees} trees, {made.containers} containers"
    left = f"; its remains are in {made.kept}" if made.kept else ""
    mended = Mended(Remedy.REBUILT, counts + left)
    return (Finding(Fault.DATABASE_DAMAGED, "nacre.db", detail=made.problem, mended=mended),)


def _config(store: Store, digest: Digest) -> ImageConfig | None:
    """The config of an image; None for an index, and where it cannot be read."""
    from ..images.model.image import Image
    from ..words.errors import NacreError

    descriptor = store.refs.image(digest)
    try:
        return Image.load(store, descriptor).config if descriptor else None
    except NacreError:
        return None
