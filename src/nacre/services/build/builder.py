"""A build is a fold: every step takes (state, layers) and gives (state', layers').

    plan ─▶ for each stage needed: base ─▶ step ─▶ step ─▶ … ─▶ config + layers ─▶ image ─▶ names
                                             │
                             key ─▶ kept? ───┴─ yes: CACHED    no: run or copy, keep under the key

Nothing of a build that fails is visible: layers of steps that succeeded are kept as cache, names and
image appear at the end, and what a failed step wrote is gone. Builds hold a lease while they work.
"""

from __future__ import annotations

from time import time

from ...ground.files import surely
from ...images.model.platforms import runnable
from ...stores import caches
from ...words.errors import CacheIncomplete, CacheUnusable, InvalidName, NacreError
from ...words.light import contextmanager
from ...words.oci import OCI
from ...words.progress import NullProgress
from ...words.reference import Reference
from ...words.value import Value
from . import entitlements
from .cache import Cache
from .imports import ImportedCaches
from .projects import PackageIndexes
from .report import BuildReport
from .result import write_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeVar

    from ...grammars.buildcache import CachedStep
    from ...grammars.dockerfile.checks import Advice
    from ...ground.sandbox import Stdio
    from ...ground.work.budget import Budget
    from ...images.attestations.materials import BuildMaterials
    from ...images.attestations.wanted import AttestationOptions, Predicate
    from ...images.model.image import Image
    from ...images.model.limits import Limits
    from ...stores.store import Store
    from ...words.digest import Digest
    from ...words.errors import BuildFailed
    from ...words.oci import Descriptor, Platform
    from ...words.progress import Progress
    from .context import ContextFiles
    from .downloads import Fetch
    from .imports import FoundCache, Opener
    from .inputs import Inputs
    from .missing import StepForecast
    from .mounts import Fill
    from .repositories import GitConnection
    from .session import BuildSession
    from .stageprogress import StageProgress

    T = TypeVar("T")


class BuildOptions(Value):
    """Wishes for one build. `network` is host or none.

    `hosts` are lines `NAME:ADDRESS` for /etc/hosts of every RUN. `secrets` are (id, content): RUN
    --mount=type=secret shows them, no layer and no cache key has them. `form` is the kind of manifest
    (`images.model.schema`). `shm_size` 0 is the default. `limits` (None for none) and `ulimits` are for every
    RUN. `parallel` is how many steps may be at work at once: 0 for what is usual. `allow` are entitlements
    (`entitlements.NAMES`), `agents` (id, path of the socket; for the engine also files of keys, with commas
    between) of SSH agents. `cache_from` and `cache_to` are caches as docker writes them,
    `type=registry,ref=…`; who makes the builder opens them. `on_fail` hears of
    a RUN that failed while its root is still there, and may return the descriptors of a shell in there; steps
    then run one after the other. `no_cache_filter` are stages that find nothing in the cache. Each of
    `platforms`, if there are any, gets an image, whatever `platform` says. `is_trial`: nothing is kept in the
    cache. `squash`: what is added to the base of the target becomes one layer. `contexts` are named contexts
    (`grammars.dockerfile.namedcontext`). `advice` is what is looked for in what was built: auto (in new
    layers), all or none.

    For Python projects without a Dockerfile: `base` the base image ("" what the project says, or
    host:python3), `extras` and dependency `groups` to install, `indexes` where packages come from, `renew`:
    versions chosen for an earlier build do not count.

    `attestations` are to be made of each image, which who makes the builder does, and provenance to be told
    beside it where `metadata` is min or max.
    """

    target: str = ""
    arguments: tuple[tuple[str, str], ...] = ()
    tags: tuple[Reference, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    no_cache: bool = False
    platform: Platform | None = None
    network: str = "host"
    hosts: tuple[str, ...] = ()
    shm_size: int = 0
    secrets: tuple[tuple[str, bytes], ...] = ()
    form: str = OCI
    limits: Limits | None = None
    ulimits: tuple[tuple[str, int, int], ...] = ()
    parallel: int = 0
    allow: tuple[str, ...] = ()
    agents: tuple[tuple[str, str], ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    on_fail: Callable[[BuildFailed], Stdio | None] | None = None
    no_cache_filter: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    is_trial: bool = False
    squash: bool = False
    contexts: tuple[tuple[str, str], ...] = ()
    base: str = ""
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    indexes: PackageIndexes = PackageIndexes()
    renew: bool = False
    attestations: tuple[AttestationOptions, ...] = ()
    advice: str = "auto"
    metadata: str = ""

    @property
    def is_told(self) -> bool:
        """Whether something is to be said of what an image was made from."""
        return bool(self.attestations or self.metadata)


def _nothing() -> None:
    pass


class BuildSources(Value):
    """Where a build has from what is not in its context; the builder knows neither registries nor a client.

    `resolve(name, platform, progress)` gives the image that a FROM or a --from names, `find(name, platform)`
    the same if that takes no time, else None. `fetch(url)` is what an ADD of a URL copies, `git(url)` how git
    reaches a server. `forked()` is called in each process that works for the build. `caches` are asked for
    steps that were not done here. `fill(name, folder, progress)` gives a new cache mount what it has
    elsewhere, if anything. `ahead(layer, is_result)` sends a layer of a cache before that is written, where
    one is: a layer of the result, or of another stage.
    """

    resolve: Callable[[str, Platform | None, Progress], Image]
    find: Callable[[str, Platform | None], Image | None]
    fetch: Fetch
    git: Callable[[str], GitConnection]
    forked: Callable[[], object] = staticmethod(_nothing)
    caches: tuple[Opener, ...] = ()
    fill: Fill | None = None
    ahead: Callable[[Descriptor, bool], object] | None = None


class CacheWriter(Value):
    """Where a build leaves its cache: `name` for messages, `kind` as docker calls it.

    `write(steps, progress, elsewhere)` sends the steps, and layers that are not here from `elsewhere`. With
    `is_whole` it holds the layers of all stages, else those of the result. An error ends the build unless
    `may_fail`. Without `write` the cache goes into the image. `write_mounts(names, progress)` sends cache
    mounts, by the names of their folders.
    """

    kind: str
    name: str = ""
    write: Callable[[Sequence[CachedStep], Progress, Mapping[Digest, FoundCache]], object] | None = None
    is_whole: bool = False
    may_fail: bool = False
    write_mounts: Callable[[Sequence[str], Progress], object] | None = None


class BuildResult(Value):
    """The image, and how many steps had to be done (`ran`) or existed already (`cached`).

    `materials` is what it was made from, where attestations are to be made, and `predicates` what they say.
    `advice` is that of the whole build. `bases` are the images it was made from: name, platform and digest.
    `ref` is the name of the record of the build, "" for one without. `provenance` is JSON, as the options
    want it.
    """

    image: Image
    ran: int
    cached: int
    materials: BuildMaterials | None = None
    predicates: tuple[Predicate, ...] = ()
    advice: tuple[Advice, ...] = ()
    bases: tuple[tuple[str, str, str], ...] = ()
    ref: str = ""
    provenance: bytes = b""


class Builder:
    """Builds images into one store.

    `proxies` are variables that every RUN gets, in both spellings, and that are no part of a cache key;
    arguments of the same names win over them. `advises()` says whether advice is wanted where the options say
    auto; it is asked only if there is something new.
    """

    def __init__(
        self, store: Store, sources: BuildSources, report: BuildReport | None = None, *,
        proxies: Mapping[str, str] | None = None, writers: Sequence[CacheWriter] = (),
        advises: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._advises = advises
        self._store, self._sources, self._writers = store, sources, writers
        self._report = report or BuildReport(NullProgress())
        self._proxies = dict(proxies or {})

    def build(self, inputs: Inputs, options: BuildOptions | None = None) -> list[BuildResult]:
        """Build an image for each platform that is asked for, and set the names, or raise and leave none.

        Of several images the first that this machine runs gets the names, else the first. Raises
        DockerfileError, BuildFailed, NotFound, Unsupported, UsageError, StoreError, SandboxError and whatever
        `resolve` raises. What `fetch` raises becomes a DockerfileError.
        """
        options = options or BuildOptions()
        check_options(options)
        with self._store.leases.hold(), inputs.opened(caches.tables(self._store.root)) as context:

            def attempt(imports: list[ImportedCaches]) -> tuple[list[BuildSession], list[StageProgress]]:
                with self.sessions(inputs, options, imports[0], context) as sessions:
                    return sessions, complete(sessions, self._store.budget)

            return self.results(*once_more(attempt, [self.imports()], self._report))

    def imports(self) -> ImportedCaches:
        """The caches from elsewhere, which nobody has asked yet."""
        return ImportedCaches(self._sources.caches, self._report)

    def results(self, sessions: list[BuildSession], standing: list[StageProgress]) -> list[BuildResult]:
        """Write the images of sessions, the names that the options give them, and caches elsewhere."""
        options = sessions[0].options
        steps = leaving([session.cache for session in sessions]) if self._writers else []
        inline = steps if any(writer.write is None for writer in self._writers) else None
        images = finish(self._store, standing, options, self._report, inline)
        elsewhere = sessions[0].cache.imports.elsewhere
        mounts = sorted({name for session in sessions for name in session.cache_mounts})
        write_caches(self._writers, steps, standing, self._report, elsewhere, mounts)
        advice = self._advice(sessions, standing)
        return [
            BuildResult(
                image,
                session.cache.ran,
                session.cache.cached,
                session.materials,
                advice=advice,
                bases=session.bases(),
            )
            for image, session in zip(images, sessions, strict=True)
        ]

    def _advice(self, sessions: list[BuildSession], standing: list[StageProgress]) -> tuple[Advice, ...]:
        """What could be done better; an unchanged build does not ask for it unless all is wanted."""
        wanted = sessions[0].options.advice
        is_new = any(session.cache.made for session in sessions)
        if wanted != "all" and not (wanted == "auto" and is_new and self._advises()):
            return ()
        from .advice import build_advice

        return build_advice(sessions, standing, is_all=wanted == "all")

    def explain(self, inputs: Inputs, options: BuildOptions | None = None) -> list[StepForecast]:
        """What `build` would do with each step, and why; nothing is built, pulled or fetched.

        Caches elsewhere are asked what they have. Raises as `build`.
        """
        options = options or BuildOptions()
        check_options(options)
        with self._store.leases.hold(), inputs.opened(caches.tables(self._store.root)) as context:

            def attempt(imports: list[ImportedCaches]) -> list[StepForecast]:
                with self.sessions(inputs, options, imports[0], context) as sessions:
                    return [step for session in sessions for step in session.forecast()]

            return once_more(attempt, [self.imports()], self._report)

    @contextmanager
    def sessions(
        self, inputs: Inputs, options: BuildOptions, imports: ImportedCaches, context: ContextFiles,
        links: Mapping[str, Sequence[BuildSession]] | None = None,
    ) -> Iterator[list[BuildSession]]:  # fmt: skip
        """One for each platform, the Dockerfile read; `links` as sessions have them, of those beside."""
        from .session import BuildSession

        several = self._report.names_platforms = len(options.platforms) > 1
        since = time() if several or links is not None else float("inf")
        sessions = []
        for each in _for_each(options):
            cache = Cache(self._store, each.no_cache, imports, since=since)
            cache.keeps = not each.is_trial
            sessions.append(BuildSession(self._store, self._sources, self._report, context, each, cache))
        try:
            for session in sessions:
                session.links = links or {}
                session.read(inputs, self._proxies)
            yield sessions
        finally:
            for session in sessions:
                surely(session.close)


def write_caches(
    writers: Sequence[CacheWriter], steps: Sequence[CachedStep], standing: Sequence[StageProgress],
    report: BuildReport, elsewhere: Mapping[Digest, FoundCache], mounts: Sequence[str] = (),
) -> None:  # fmt: skip
    """Send the steps of a build to caches elsewhere, and its cache mounts to those that want some."""
    result = {diff_id for each in standing for diff_id in each.diff_ids}
    held = [one.replace(is_absent=True) if one.layer and one.layer[1] not in result else one for one in steps]
    for writer in writers:
        if writer.write is None:
            continue
        wanted = steps if writer.is_whole else held
        step = report.step(f"exporting cache to {writer.kind}")
        step.begin()
        try:
            writer.write(wanted, step, elsewhere)
            if mounts and writer.write_mounts:
                writer.write_mounts(mounts, step)
        except NacreError as error:
            error.message = f"cannot export the cache to {writer.name}: {error.message}"
            error.args = (error.message,)
            step.failed(error.message)
            if not writer.may_fail:
                raise
        else:
            step.done()


def once_more(
    attempt: Callable[[list[ImportedCaches]], T], imports: list[ImportedCaches], report: BuildReport
) -> T:
    """What `attempt` gives; tried again if a cache from elsewhere lacks what turns out to be needed."""
    try:
        return attempt(imports)
    except CacheIncomplete as error:
        report.progress.line(f"{error.message}, so the steps before are done")
        again = [each.whole() for each in imports]
    except CacheUnusable as error:
        report.progress.line(f"WARNING: {error.message}")
        again = [ImportedCaches() for _ in imports]
    return attempt(again)


def complete(sessions: list[BuildSession], budget: Budget) -> list[StageProgress]:
    """What each has built; none begins to run anything before all of them can."""
    try:
        for session in sessions:
            session.begin()
        left = [session for session in sessions if session.left]
        if left:
            _go_on(left, budget)
    finally:
        for session in sessions:
            session.remember()
    return [session.finish() for session in sessions]


def _go_on(sessions: list[BuildSession], budget: Budget) -> None:
    """Side by side, or one after the other where this process must not be forked."""
    options = sessions[0].options
    if not options.on_fail and (options.parallel or budget.processes > 1):
        from .graph import Graph

        Graph(sessions, options.parallel or budget.steps).build()
    else:
        for session in sessions:
            session.go_on()


def check_options(options: BuildOptions) -> None:
    """Raises UsageError, InvalidName for what no build can obey."""
    entitlements.check(options.allow)
    for tag in options.tags:
        if tag.digest is not None:
            raise InvalidName(f"invalid tag {str(tag)!r}: refusing to create a tag with a digest reference")


def _for_each(options: BuildOptions) -> list[BuildOptions]:
    return [options.replace(platform=platform) for platform in options.platforms or (options.platform,)]


def leaving(used: Sequence[Cache]) -> list[CachedStep]:
    """The steps of all of them for a cache that is written, each once, in a fixed order."""
    found = {step.key: step for cache in used for step in cache.leaving()}
    return [found[key] for key in sorted(found)]


def finish(
    store: Store, standing: list[StageProgress], options: BuildOptions, report: BuildReport,
    inline: Sequence[CachedStep] | None,
) -> list[Image]:  # fmt: skip
    """Write the images and set the names, unless they are as they should be already.

    `inline` are steps that a config is to hold as a cache, as far as they made its layers.
    """
    step = report.step("exporting to image")
    if options.squash:
        from .squashed import squashed

        standing = [squashed(store, each, options, step) for each in standing]
    images = [write_result(store, each, options, inline) for each in standing]
    for image in images:
        step.line(f"writing image {image.id}")
    named = runnable(images)
    for tag in map(str, options.tags):
        if store.refs.get(tag) != named.descriptor or store.refs.index(tag):
            store.refs.set(tag, named.descriptor)
        step.line(f"naming to {tag}")
    step.done()
    return images
