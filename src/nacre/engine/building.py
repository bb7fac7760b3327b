"""Builds: the builder is handed what it needs, a way to resolve FROM and one to fetch a URL."""

from __future__ import annotations

import os
from time import sleep, time

from ..grammars.dockerfile.namedcontext import LAYOUT, TARGET_IMAGE
from ..images.dockerfile.plan import HOSTNAME, INLINE
from ..images.model.platforms import fits, runnable
from ..images.model.proxies import proxy_variables
from ..services.build import (
    NETRC,
    PIP_CONF,
    Builder,
    BuildOptions,
    BuildReport,
    BuildSources,
    PackageIndexes,
    load,
)
from ..words.errors import BuildFailed, DockerfileError, NotFound, UsageError
from ..words.light import contextmanager
from ..words.oci import Platform
from ..words.progress import NullProgress
from ..words.reference import Reference, is_host
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from ..grammars.dockerfile.checks import Advice
    from ..grammars.tar.entry import Reader
    from ..ground.sandbox import Stdio
    from ..images.attestations.wanted import Predicate
    from ..images.audit.reasons import ReasonedDifference
    from ..images.model.image import Image
    from ..services.build import BuildResult, CacheWriter, Inputs, StepForecast
    from ..services.build.python import ProjectBuilder
    from ..services.build.remotecontext import RemoteContexts
    from ..services.build.repositories import GitConnection
    from ..words.progress import Progress
    from . import Engine
    from .archives import Downloaded, Origin

    Predicates = tuple[tuple[Predicate, ...], ...]
    Sum = tuple[Image, int, int, tuple[Image, ...], Predicates, tuple[Advice, ...], str, tuple[bytes, ...]]
    """The fields of `Built`."""


class BuildComparison(Value):
    """Two builds of the same: the image of the first, whether the second has its digest, and else why not.

    `files` are the paths that differ, with probable causes, `config` the fields of the image config. `dated`
    are files that are equal today, and hold the date of the day.
    """

    image: Image
    is_equal: bool
    files: tuple[ReasonedDifference, ...] = ()
    config: tuple[str, ...] = ()
    dated: tuple[bytes, ...] = ()


_OTHER = "nacre-verify"
CALLS = ("check", "outline", "targets", "dockerfile")
_SHOWN, _AROUND = 10, 2
"""Lines of a step that are shown when it failed, and lines before and after."""


def merged(options: BuildOptions | None, **given: object) -> BuildOptions:
    """The options, with those given besides that say anything."""
    return (options or BuildOptions()).replace(**{name: value for name, value in given.items() if value})


@contextmanager
def agents_of(options: BuildOptions) -> Iterator[BuildOptions]:
    """The options with the socket of an agent where they name files of keys."""
    if not options.agents:
        yield options
        return
    from .sshkeys import KeyAgents

    with KeyAgents(options) as agents:
        yield agents.options


def build(
    engine: Engine, origins: tuple[Origin, Origin], options: BuildOptions, pull: str,
    progress: Progress | None,
) -> list[BuildResult]:  # fmt: skip
    """Build the first of `origins`, a folder, a stream, an archive, a URL or a repository, by the second.

    The second is "", a Dockerfile or its URL.
    """
    from .buildrecords import BuildRecording

    options = permitted_options(engine, options)
    sources, report = sources_of(engine, options, pull), BuildReport(progress or NullProgress())
    with (
        BuildRecording(engine, origins, options, report) as recording,
        opened_inputs(engine, origins, sources, options, report) as inputs,
    ):
        recording.read(inputs)
        if stand := options.on_fail:

            def quoted(error: BuildFailed) -> Stdio | None:
                quote(inputs, error)
                return stand(error)

            options = options.replace(on_fail=quoted)
        try:
            results = built(engine, inputs, fitting(engine, inputs, options, pull), sources, report)
        except (DockerfileError, BuildFailed) as error:
            quote(inputs, error)
            raise
        return recording.made(attested(engine, inputs, options, results, report))


def attested(
    engine: Engine, inputs: Inputs, options: BuildOptions, results: list[BuildResult], report: BuildReport
) -> list[BuildResult]:
    """The results with what is to be said of them."""
    if not options.is_told:
        return results
    from .attesting import attest

    return attest(engine, inputs, options, results, report)


def permitted_options(engine: Engine, options: BuildOptions) -> BuildOptions:
    """The limits as this machine can keep them. Raises Unsupported where a library is not installed."""
    if options.attestations:
        from ..images.attestations.installed import require

        require()
    if not options.limits:
        return options
    from ..images.model.permitted import permitted

    return options.replace(limits=permitted(options.limits, engine.config.warn))


def verify(
    engine: Engine, origins: tuple[Origin, Origin], options: BuildOptions, pull: str,
    progress: Progress | None,
) -> list[BuildComparison]:  # fmt: skip
    """Build, and once more without the cache and under other circumstances; what differs, by platform."""
    begun, report = time(), BuildReport(progress or NullProgress())
    options = options.replace(advice="none")
    sources = sources_of(engine, options, pull)
    with opened_inputs(engine, origins, sources, options, report) as inputs:
        try:
            options = fitting(engine, inputs, options, pull)
            first = built(engine, inputs, options, sources, report)
            before = {descriptor.digest for descriptor in engine.store.refs.images()}
            sleep(1 - time() % 1)  # another second
            with _one_processor():
                second = built(engine, inputs, _again(options), sources, report)
        except (DockerfileError, BuildFailed) as error:
            quote(inputs, error)
            raise
    when = begun, time()
    found = [_compared(one, other, when) for one, other in zip(first, second, strict=True)]
    for other in {one.image.digest for one in second} - before:
        engine.remove(str(other), force=True)
    return found


def _again(options: BuildOptions) -> BuildOptions:
    """Another host name and order, nothing kept; the same if the user has named the host."""
    given = dict(options.arguments)
    return options.replace(
        arguments=tuple(({HOSTNAME: _OTHER} | given).items()), tags=(), no_cache=True, is_trial=True,
        parallel=1, cache_from=(), cache_to=(),
    )  # fmt: skip


@contextmanager
def _one_processor() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _compared(first: BuildResult, second: BuildResult, when: tuple[float, float]) -> BuildComparison:
    from ..images.audit.reasons import dated, reasoned

    one, other = first.image, second.image
    files = tuple(reasoned(one, other, when, (b"nacre-build", _OTHER.encode())))
    fields = sorted(
        name
        for name in {*one.config.raw, *other.config.raw} - {"rootfs"}
        if one.config.raw.get(name) != other.config.raw.get(name)
    )
    differing = {found.path for found in files}
    days = tuple(path for path in dated(one, when[0]) if path not in differing)
    return BuildComparison(one, one.digest == other.digest, files, tuple(fields), days)


def explain(
    engine: Engine, origins: tuple[Origin, Origin], options: BuildOptions, pull: str,
    progress: Progress | None,
) -> list[StepForecast]:  # fmt: skip
    """What `build` would do with the same."""
    sources, report = sources_of(engine, options, pull), BuildReport(progress or NullProgress())
    with opened_inputs(engine, origins, sources, options, report) as inputs:
        if inputs.is_project:
            raise UsageError(f"there is no Dockerfile to explain: {inputs.name} is built without one")
        check_for_dockerfile(options, inputs)
        try:
            with builder_of(engine, options.replace(cache_to=()), sources, report) as builder:
                return builder.explain(inputs, options)
        except (DockerfileError, BuildFailed) as error:
            quote(inputs, error)
            raise


def opened_inputs(
    engine: Engine, origins: tuple[Origin, Origin], sources: BuildSources, options: BuildOptions,
    report: BuildReport,
) -> Inputs:  # fmt: skip
    """The context and the Dockerfile, or the project, that origins mean. Close it."""
    (context, stream), (file, other) = map(_divided, origins)

    def remote() -> RemoteContexts:
        from ..services.build.remotecontext import RemoteContexts

        return RemoteContexts(engine.store, sources, options, report)

    return load(engine.store, context, file, stdin=stream or other, remote=remote)


def sources_of(engine: Engine, options: BuildOptions, pull: str) -> BuildSources:
    """Where a build has from what is not in its context."""
    for item in options.hosts:
        from ..images.model.runtime import host_line

        host_line(item)

    def base(name: str, wanted: Platform | None, shown: Progress) -> Image:
        if name.startswith(LAYOUT):
            from ..images.arrows.layoutimage import layout_image

            return layout_image(engine.store, name, wanted, shown)
        return _resolved(engine, name, wanted, pull, shown)

    def at_hand(name: str, wanted: Platform | None) -> Image | None:
        return _at_hand(engine, name, wanted, pull)

    return BuildSources(
        base, at_hand, lambda *args: _fetch(engine, *args), lambda url: _git(engine, url), engine.forked
    )


def _git(engine: Engine, url: str) -> GitConnection:
    """As the client of registries reaches a server."""
    from ssl import get_default_verify_paths

    from ..services.build.repositories import GitConnection

    found = engine.client.connection(url)
    bundle = get_default_verify_paths().cafile or ""
    return GitConnection(found.proxy, found.authorities, found.pairs, bundle)


def _proxies(engine: Engine) -> Mapping[str, str]:
    """The variables for proxies that every RUN gets."""
    return proxy_variables(dict(engine.config.proxies), engine.container_proxies())


def built(
    engine: Engine, inputs: Inputs, options: BuildOptions, sources: BuildSources, report: BuildReport
) -> list[BuildResult]:
    """The image of each platform, by options that fit. Raises as `Engine.build`."""
    if not inputs.is_project:
        with builder_of(engine, options, sources, report) as builder:
            return builder.build(inputs, options)
    with _with_caches(engine, options, sources) as (sources, writers):
        projects = _projects()(engine.store, sources, report, proxies=_proxies(engine), writers=writers)
        return projects.build(inputs, options)


@contextmanager
def builder_of(
    engine: Engine, options: BuildOptions, sources: BuildSources, report: BuildReport
) -> Iterator[Builder]:
    """With the caches that the options name."""
    with _with_caches(engine, options, sources) as (sources, writers):
        yield Builder(
            engine.store, sources, report, proxies=_proxies(engine), writers=writers,
            advises=lambda: _advises(engine),
        )  # fmt: skip


@contextmanager
def _with_caches(
    engine: Engine, options: BuildOptions, sources: BuildSources
) -> Iterator[tuple[BuildSources, Sequence[CacheWriter]]]:
    """The sources with the caches that the options name; what opens them is loaded only for those."""
    if not options.cache_from and not options.cache_to and not _is_inline(options):
        yield sources, ()
        return
    from .buildcache import BuildCaches

    with BuildCaches(engine, options) as caches:
        yield sources.replace(caches=caches.openers, fill=caches.fill, ahead=caches.ahead), caches.writers


def _advises(engine: Engine) -> bool:
    return engine.network.settings.build_advice is not False


def _is_inline(options: BuildOptions) -> bool:
    return any(name == INLINE for name, _ in options.arguments)


def summed(results: list[BuildResult]) -> Sum:
    """What a build of several platforms has made: the fields of `Built`."""
    images = tuple(result.image for result in results)
    ran, cached = sum(result.ran for result in results), sum(result.cached for result in results)
    predicates = tuple(result.predicates for result in results)
    told = tuple(result.provenance for result in results if result.provenance)
    return runnable(images), ran, cached, images, predicates, results[0].advice, results[0].ref, told


def completed(engine: Engine, results: list[BuildResult], tags: Sequence[Reference]) -> Sum:
    """The fields of `Built`, told to those who listen, when the cache is within its limit again."""
    done = summed(results)
    image, ran, _, images, *_ = done
    if ran and (most := engine.network.settings.build_cache):
        from .buildcache import keep_within

        engine.inside(lambda store: keep_within(store, most))
    for each in images:
        engine.tell_image("create", each)
    for reference in tags:
        engine.tell_image("tag", image, reference)
    return done


def for_each(platform: Platform | Sequence[Platform] | None) -> tuple[Platform, ...]:
    """The platforms of a build, each once."""
    if platform is None or isinstance(platform, Platform):
        return (platform,) if platform else ()
    return tuple(dict.fromkeys(platform))


def _resolved(engine: Engine, name: str, platform: Platform | None, pull: str, progress: Progress) -> Image:
    """The image; the name goes on to mean the one that suits this machine, if it did."""
    if platform is None or is_host(name):
        return engine.resolve(name, platform, pull=pull, progress=progress)
    reference = str(Reference.parse(name))
    before, index = engine.store.refs.get(reference), engine.store.refs.index(reference)
    image = engine.resolve(name, platform, pull=pull, progress=progress)
    if before and before != image.descriptor and not fits(image, Platform.host()):
        engine.store.refs.set(reference, before, index)
    return image


def call(
    engine: Engine, origins: tuple[Origin, Origin], options: BuildOptions, method: str
) -> dict[str, Any]:
    """What the Dockerfile says of itself, from the same origins."""
    if method not in CALLS:
        raise UsageError(f"unsupported request {method[:80]!r}", hint=f"use {', '.join(CALLS)}")

    sources, report = sources_of(engine, options, "never"), BuildReport(NullProgress())

    def here(name: str, wanted: Platform | None) -> Image:
        if name.startswith(TARGET_IMAGE):
            raise NotFound(f"{name.removeprefix(TARGET_IMAGE)} is a target that is not built")
        return sources.resolve(name, wanted, NullProgress())

    with opened_inputs(engine, origins, sources, options, report) as inputs:
        if inputs.is_project != (method == "dockerfile"):
            raise _other_call(method, inputs)
        if inputs.is_project:
            return {"dockerfile": _written(engine, inputs, options)}
        check_for_dockerfile(options, inputs)
        if method == "check" and not _advises(engine):
            options = options.replace(advice="none")
        from ..services.build.checks import call as look

        return look(method, inputs, options, here)


def _other_call(method: str, inputs: Inputs) -> UsageError:
    if inputs.is_project:
        return UsageError(f"there is no Dockerfile to {method}: {inputs.name} is built without one")
    return UsageError(f"there is a Dockerfile, {inputs.name}: print that")


def _written(engine: Engine, inputs: Inputs, options: BuildOptions) -> str:
    """The Dockerfile that would do what a build of the project does."""
    sources = sources_of(engine, options, "missing")
    return _projects()(engine.store, sources, BuildReport(NullProgress())).dockerfile(
        inputs, for_project(engine, options, "missing")
    )


def _fetch(
    engine: Engine, url: str, headers: Mapping[str, str] | None = None
) -> AbstractContextManager[Downloaded]:
    from .archives import download

    return download(engine, url, headers)


def _projects() -> type[ProjectBuilder]:
    """What builds Python projects. Raises Unsupported where its libraries are not installed."""
    from ..grammars.python.installed import require

    require()
    from ..services.build.python import ProjectBuilder

    return ProjectBuilder


def for_project(engine: Engine, options: BuildOptions, pull: str) -> BuildOptions:
    """The options as a project without a Dockerfile takes them; what cannot be obeyed is said or refused."""
    if options.target:
        raise UsageError(f"--target {options.target}: a project without a Dockerfile has no stages")
    unused = {
        "ssh": options.agents, "allow": options.allow, "on-fail": options.on_fail,
        "no-cache-filter": options.no_cache_filter, "build-context": options.contexts,
        "squash": options.squash, "advice": options.advice == "all",
    }  # fmt: skip
    for name in [name for name, given in unused.items() if given]:
        engine.config.warn(
            f"WARNING: --{name} has no effect: there is no Dockerfile whose steps have use for it"
        )
    indexes = options.indexes
    if indexes == PackageIndexes() and engine.config.packages:
        indexes = engine.config.packages()
    indexes = _told(indexes, dict(options.secrets), engine.config.warn)
    return options.replace(indexes=indexes, renew=options.renew or pull == "always")


def _told(
    indexes: PackageIndexes, secrets: Mapping[str, bytes], warn: Callable[[str], object]
) -> PackageIndexes:
    """With what the secrets pip.conf and netrc say of indexes."""
    if PIP_CONF in secrets:
        from ..grammars.python.pipconfig import indexes_of

        text = secrets[PIP_CONF].decode("utf-8", "replace")
        urls = indexes_of({}, [(f"the secret {PIP_CONF}", text)], warn)
        indexes = indexes.replace(urls=tuple(urls) or indexes.urls)
    return indexes.replace(netrc_data=secrets[NETRC]) if NETRC in secrets else indexes


def fitting(engine: Engine, inputs: Inputs, options: BuildOptions, pull: str) -> BuildOptions:
    """The options as what is built takes them, a project or a Dockerfile. Raises UsageError."""
    if inputs.is_project:
        return for_project(engine, options, pull)
    check_for_dockerfile(options, inputs)
    return options


def check_for_dockerfile(options: BuildOptions, inputs: Inputs) -> None:
    """Raises UsageError for an option that only a project without a Dockerfile has."""
    for name, given in (("base", options.base), ("extra", options.extras), ("group", options.groups)):
        if given:
            raise UsageError(
                f"--{name} is for Python projects without a Dockerfile, and there is {inputs.name}",
                hint="remove the option, or the Dockerfile",
            )


def _at_hand(engine: Engine, name: str, platform: Platform | None, pull: str) -> Image | None:
    """The image, if nothing has to be pulled for it."""
    if name.startswith(LAYOUT):
        from ..images.arrows.layoutimage import stored_image

        return stored_image(engine.store, name, platform)
    host = is_host(name)
    if pull == "always" and not host:
        return None
    try:
        image = engine.resolve(name, platform, pull="never")
    except NotFound:
        return None
    return image if host or platform is None or pull == "never" or fits(image, platform) else None


def _divided(origin: Origin) -> tuple[str, Reader | None]:
    """A path, or "-" and the stream that it stands for."""
    return (os.fspath(origin), None) if isinstance(origin, str | os.PathLike) else ("-", origin)


def quote(inputs: Inputs, error: DockerfileError | BuildFailed) -> None:
    """Give an error the line of the Dockerfile with the fault, or those around a step that failed."""
    lines = [line.rstrip("\r") for line in inputs.dockerfile.split("\n")]
    if error.file != inputs.name or not 1 <= error.line <= len(lines):
        return
    if isinstance(error, DockerfileError):
        error.source = lines[error.line - 1]
        return
    last = min(error.last_line, error.line + _SHOWN - 1)
    error.source_line = max(error.line - _AROUND, 1)
    error.source = "\n".join(lines[error.source_line - 1 : max(last, error.line) + _AROUND])
