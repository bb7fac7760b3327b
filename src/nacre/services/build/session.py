"""A build at work: what its stages share, and what has to be waited for."""

from __future__ import annotations

from ...images.dockerfile.fold import start
from ...images.dockerfile.plan import EPOCH, source_date_epoch
from ...images.model.image import Image
from ...images.model.proxies import proxy_variables
from ...stores import caches
from ...words.errors import InvalidName, NacreError, NotFound
from ...words.light import cached_property
from ...words.oci import Platform
from .checks import BuildChecks, planned_build
from .content import content_by, fingerprint, unread
from .contexts import BuildContexts
from .epoch import FileTimes, resolved
from .missing import MissingFiles, MissingSteps
from .scratch import ScratchDirectory
from .stage import StageBuild
from .stageprogress import StageProgress, StepLayer
from .waiting import Waiting, finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ...grammars.dockerfile.checks import LintWarning
    from ...grammars.dockerfile.gitsource import GitSource
    from ...grammars.dockerfile.instructions import Instruction
    from ...images.attestations.materials import BuildMaterials
    from ...images.dockerfile.fold import Fold
    from ...images.dockerfile.plan import Plan, StagePlan
    from ...stores.store import Store
    from ...words.digest import Digest
    from ...words.oci import Descriptor
    from ...words.progress import Steps
    from .builder import BuildOptions, BuildSources
    from .cache import Cache
    from .context import ContextFiles
    from .downloads import Downloads, FetchedFile
    from .inputs import Inputs
    from .layers import Layers
    from .missing import StepForecast
    from .report import BuildReport, StepReport
    from .repositories import FetchedRepository, Repositories
    from .select import Selection
    from .waiting import Name, StageSteps, Work

_AT_ONCE = 8 << 20
"""Bytes that a process which schedules reads by itself."""
_SECOND = 1_000_000_000
_NO_EMULATOR = (
    "register an emulator with the kernel (Debian: apt install qemu-user-static), or run the step in a stage "
    "FROM --platform=$BUILDPLATFORM and copy its files"
)


def _title(url: str) -> str:
    from ...grammars.wire.links import shown

    try:
        return shown(url)
    except ValueError:
        return "invalid URL"


def _failing(
    report: StepReport, blame: Callable[[NacreError], NacreError]
) -> Callable[[NacreError], NacreError]:
    """`blame`, and the step of the error ends with it."""

    def failing(error: NacreError) -> NacreError:
        report.failed(error.message)
        return blame(error)

    return failing


class BuildSession:
    """One build at work: what its stages share."""

    plan: Plan
    fold: Fold
    clamp: int | None
    times: FileTimes
    checks: BuildChecks
    misses: MissingSteps
    proxies: tuple[tuple[str, str], ...]
    called = ""
    """The name of the target among those of a bake file."""
    links: Mapping[str, Sequence[BuildSession]]
    """The sessions of other targets, by the names of their images."""
    warned = False
    materials: BuildMaterials | None = None
    """What the image was made from, where somebody asks."""
    ran: Callable[[str, str, str], object] | None = None
    """Hears in a process of its own that a command has ended whose layer is still to be written."""
    overlaps = False
    """Whether a step may begin over one whose layer is still being written."""
    helps = False
    """Whether this process works for another one that schedules."""
    schedules = False
    """Whether this process leaves to others what takes long: see `waiting`."""

    def __init__(
        self, store: Store, sources: BuildSources, report: BuildReport, context: ContextFiles,
        options: BuildOptions, cache: Cache,
    ) -> None:  # fmt: skip
        self.store, self.report, self.context, self.options = store, report, context, options
        self.contexts = BuildContexts(context, dict(options.contexts))
        self.caches = caches.mounts(store.root)
        self.cache_mounts: set[str] = set()
        self.cache = cache
        self.sources = sources
        self.links = {}
        self._stages: dict[int, StageProgress] = {}
        self.left: dict[int, tuple[StageSteps, Waiting]] = {}
        self._images: dict[tuple[str, Platform | None], Image] = {}
        self._contents: dict[str, str] = {}
        self._sides: dict[Name, StepLayer] = {}
        self.builds: dict[int, StageBuild] = {}
        self._opened: list[Layers | ScratchDirectory | Downloads | Repositories] = []
        store.actives.keep_roots()

    def opened(self, layers: Layers) -> Layers:
        """Close it at the end of the build."""
        self._opened.append(layers)
        return layers

    @cached_property
    def scratch(self) -> str:
        """A folder for this build, made when it is first needed."""
        scratch = ScratchDirectory(self.store)
        self._opened.append(scratch)
        return scratch.path

    @cached_property
    def downloads(self) -> Downloads:
        """What this build fetches."""
        from .downloads import Downloads

        downloads = Downloads(self.scratch, self.sources.fetch)
        self._opened.append(downloads)
        return downloads

    @cached_property
    def repositories(self) -> Repositories:
        """What this build fetches by git."""
        from .repositories import Repositories

        options = self.options
        secrets, agents = dict(options.secrets), dict(options.agents)
        repositories = Repositories(self.scratch, secrets, agents, self.sources.git)
        self._opened.append(repositories)
        return repositories

    def close(self) -> None:
        """Close what was opened. Idempotent."""
        self.contexts.close()
        while self._opened:
            self._opened[-1].close()
            self._opened.pop()
        self.cache.settle()
        self.store.actives.drop_roots()

    def read(self, inputs: Inputs, proxies: Mapping[str, str]) -> None:
        """Parse and plan; must come first."""
        step = self._definition = self.report.step(f"[internal] load build definition from {inputs.name}")
        try:
            self._read(inputs, proxies, step)
        except NacreError as error:
            step.failed(error.message)
            raise
        step.done()

    def _read(self, inputs: Inputs, proxies: Mapping[str, str], step: StepReport) -> None:
        arguments = dict(self.options.arguments)
        self.plan, self.fold = planned_build(inputs, self.options)
        self.misses = MissingSteps(self.store, self.cache, self.options, inputs, self.plan)
        self._date(inputs)
        self.proxies = tuple(proxy_variables(proxies, arguments).items())
        self._check(inputs)
        for name in self.plan.unused():
            unknown = name.startswith("BUILDKIT_")
            why = "ignored: it is not supported" if unknown else "was not consumed: no ARG of {} declares it"
            step.line(f"WARNING: build-arg {name} {why.format(inputs.name)}")
        for name in sorted({*self.options.no_cache_filter} - {one.title for one in self.plan.stages}):
            step.line(f"WARNING: no-cache-filter {name} was not consumed: {inputs.name} has no such stage")

    def _date(self, inputs: Inputs) -> None:
        """Find the epoch that is meant; what declares it sees the number."""
        text = source_date_epoch(self.plan)
        self.clamp = resolved(self, text or "", inputs)
        if text and not text.isdecimal():
            number = "" if self.clamp is None else str(self.clamp)
            arguments = (*self.options.arguments, (EPOCH, number))
            self.plan, self.fold = planned_build(inputs, self.options.replace(arguments=arguments))
        self.times = FileTimes(self, inputs, usual=text is None)

    def _check(self, inputs: Inputs) -> None:
        """Tell what is wrong in the file, or fail for it where the file wants that."""
        self.checks = BuildChecks(self.plan, self.fold, inputs)
        self.warn(self.checks.of_file())
        if self.checks.are_errors:
            self.warn(self.checks.of_stages(self.plan.needed, self._base))
            self.checks.fail()

    def _base(self, planned: StagePlan) -> Image:
        platform = planned.platform or self.options.platform
        return self.image(planned.base.name, platform, planned.stage.base, self._definition)

    def warn(self, warnings: Sequence[LintWarning]) -> None:
        """Tell what is wrong in the Dockerfile."""
        for warning in warnings:
            self._definition.line(f"WARN: {warning}")

    @property
    def epoch_ns(self) -> int | None:
        """SOURCE_DATE_EPOCH in nanoseconds; None without."""
        return None if self.clamp is None else self.clamp * _SECOND

    def begin(self) -> None:
        """Go through what is kept, in this process, and see that the rest can be done. Raises NacreError."""
        self.schedules = True
        for index in self.plan.needed:
            steps = self.steps(index)
            try:
                self.left[index] = steps, next(steps)
            except StopIteration as end:
                self.keep(self.name_of(index), end.value)
        self.schedules = False
        for index in self.left:
            self._check_platform(self.plan.stages[index])

    def _check_platform(self, planned: StagePlan) -> None:
        """Raises DockerfileError where a stage has a RUN that this machine cannot execute."""
        run = next((item for item in planned.stage.instructions if item.name == "RUN"), None)
        platform = self._platform_of(planned)
        if run is None or platform == Platform.host():
            return
        from ...ground.foreign import executes

        if platform.os != "linux" or not executes(platform.architecture):
            raise run.error(f"this machine cannot run programs for {platform}", hint=_NO_EMULATOR)

    def unplanned(self, name: Name) -> StageSteps | None:
        """The steps of a stage that nobody asked for before: ONBUILD of a base does. Raises NacreError."""
        if name[0] != "stage" or name[2:] != self.place or (index := int(str(name[1]))) in self.builds:
            return None
        self.plan = self.plan.replace(needed=tuple(sorted({*self.plan.needed, index})))
        self._check_platform(self.plan.stages[index])
        return self.steps(index)

    def _platform_of(self, planned: StagePlan) -> Platform:
        """What programs of a stage are for, as far as it can be known before its base is here."""
        while planned.base.stage is not None:
            planned = self.plan.stages[planned.base.stage]
        wanted = planned.platform or self.options.platform
        image = None if planned.base.is_scratch else self._find(planned.base.name, wanted)
        return image.config.platform if image else wanted or self.plan.platform

    def go_on(self) -> None:
        """Build what `begin` has left, one stage after the other. Raises NacreError."""
        for index, (steps, _) in self.left.items():
            self.keep(self.name_of(index), finish(steps))

    def finish(self) -> StageProgress:
        """The target stage, when all that was left is done, with its layers here. Raises NacreError."""
        target = self.stage(self.plan.target)
        self.cache.imports.check(self.store, target.diff_ids)
        if self.cache.imports.lacking(target.diff_ids):
            step = self.report.step("importing layers from the cache")
            self.bring(target.diff_ids, step)
            step.done()
        if self.options.is_told:
            from .materials import materials_of

            self.materials = materials_of(self)
        return target

    def remember(self) -> None:
        """Keep why steps were done, for the next build."""
        if self.cache.keeps:
            self.misses.save(self.plan)

    def forecast(self) -> list[StepForecast]:
        """What `build` would do. Nothing is built, pulled or fetched."""
        found: list[StepForecast] = []
        self.misses.forecasts = found
        for index in self.plan.needed:
            try:
                self.stage(index)
            except MissingFiles:
                begun = self.nothing(self.plan.stages[index].platform)
                self.keep(self.name_of(index), begun.replace(layers=(self.misses.unknown().layer,)))
        return found

    def name_of(self, index: int) -> Name:
        """What others call a stage of this session."""
        return ("stage", index, *self.place)

    @property
    def place(self) -> tuple[str, Platform]:
        """Which of the sessions in one graph this is: its target and platform."""
        return self.called, self.plan.platform

    def steps(self, index: int) -> StageSteps:
        """What a stage does; nothing is done yet."""
        self.builds[index] = StageBuild(self, self.plan.stages[index])
        return self.builds[index].build()

    @property
    def standing(self) -> list[StageProgress]:
        """The stages that are done."""
        return list(self._stages.values())

    def nothing(self, platform: Platform | None) -> StageProgress:
        """The beginning of a stage from scratch; without a platform it is for that of the build."""
        platform = platform or self.options.platform or self.plan.platform
        return StageProgress(start(None), platform, time_ns=self.epoch_ns or 0)

    def side(self, name: Name) -> StepLayer:
        """What a step has made beside its stage. Raises Waiting."""
        if name not in self._sides:
            raise Waiting(name)
        return self._sides[name]

    def stage(self, index: int) -> StageProgress:
        """A stage, built once. Raises Waiting."""
        if index not in self._stages:
            if self.schedules:
                raise Waiting(self.name_of(index))
            self._stages[index] = finish(self.steps(index))
        return self._stages[index]

    @property
    def made(self) -> StageProgress | None:
        """The target stage, if it is done."""
        return self._stages.get(self.plan.target)

    def keep(self, name: Name, made: object) -> None:
        """Keep what a stage has come to, or a step beside one."""
        if isinstance(made, StageProgress):
            self._stages[int(str(name[1]))] = made
        elif isinstance(made, StepLayer):
            self._sides[name] = made

    def later(self, name: Name, work: Callable[[], StepLayer], *, is_brief: bool = False) -> StepLayer:
        """What `work` makes; a process that schedules leaves it to others. Raises Waiting."""
        if self.schedules:
            raise Waiting(name, work, is_brief=is_brief)
        return work() if self.builds_steps else self.misses.unknown()

    @property
    def builds_steps(self) -> bool:
        """Whether steps are done, not only looked for."""
        return self.misses.forecasts is None

    def bring(self, diff_ids: Sequence[Digest], report: StepReport) -> None:
        """See that layers are here that were found in a cache elsewhere. Raises Waiting, CacheUnusable."""
        imports = self.cache.imports
        imports.check(self.store, diff_ids)
        if not self.builds_steps:
            return
        lacking = imports.lacking(diff_ids)
        if lacking and self.schedules:
            name = ("layers", *lacking)
            raise Waiting(name, lambda: imports.bring(self.store, lacking, report), report)
        imports.bring(self.store, lacking, report)

    def content(self, source: ContextFiles, chosen: Sequence[Selection], report: StepReport) -> str:
        """The digest of files of a context. Raises Waiting where many bytes have to be read for it."""
        stamps = fingerprint(chosen)
        if self.schedules and unread(stamps, chosen, source.hashes) > _AT_ONCE:
            name = stamps.hex()
            if name not in self._contents:
                raise Waiting(("content", name), lambda: self._read_content(stamps, source, chosen, report))
            return self._contents[name]
        return content_by(stamps, source, chosen, source.hashes, self.misses.keep_list)

    def _read_content(
        self, stamps: bytes, source: ContextFiles, chosen: Sequence[Selection], report: StepReport
    ) -> str:
        from .copy import copying

        source.task = copying(report, chosen, "Reading")
        found = content_by(stamps, source, chosen, source.hashes, self.misses.keep_list)
        if source.task:
            source.task.done("read")
        return found

    def download(
        self, url: str, checksum: Digest | None, blame: Callable[[NacreError], NacreError], title: str = "{}"
    ) -> None:
        """See that a file is here, fetched once in a build. Raises Waiting, errors as `blame` has them."""
        downloads = self.downloads
        if downloads.has(url):
            return
        if not self.builds_steps:
            raise MissingFiles("it is fetched, and then done unless it is what it was")
        from ...grammars.wire.downloads import url_name

        report = self.report.step(title.format(_title(url)))

        def work() -> FetchedFile:
            return downloads.fetch(url, checksum, report.task(url_name(url) or "download"))

        self._fetch(("url", url), work, report, blame)

    def clone(self, source: GitSource, blame: Callable[[NacreError], NacreError], title: str = "{}") -> None:
        """See that a commit of a repository is here, fetched once in a build. Raises as `download`."""
        repositories = self.repositories
        if repositories.has(source):
            return
        if not self.builds_steps:
            raise MissingFiles("it is fetched, and then done unless it is what it was")
        ref = source.ref and f"#{source.ref}"
        report = self.report.step(title.format(f"{_title(source.remote)}{ref}"))

        def work() -> FetchedRepository:
            fetched = repositories.fetch(source)
            report.line(fetched.commit)
            return fetched

        self._fetch(("git", source), work, report, blame)

    def _fetch(
        self, name: Name, work: Work, report: StepReport, blame: Callable[[NacreError], NacreError]
    ) -> None:
        """Have it done, in a step of its own, and learn what it has found."""

        def fetch() -> object:
            found = work()
            report.done()
            return found

        failing = _failing(report, blame)
        if self.schedules:
            raise Waiting(name, fetch, report, blame=failing)
        try:
            self.learn(name, fetch())
        except NacreError as error:
            raise failing(error) from None

    def image(self, name: str, platform: Platform | None, item: Instruction, report: StepReport) -> Image:
        """An image by name, looked for once, its trees all here. Raises Waiting."""
        key = (name, platform)
        if key not in self._images:
            try:
                found = self._find(name, platform)
            except InvalidName as error:
                raise item.error(error.message, hint=error.hint) from None
            if found is None or self.store.trees.missing(found.diff_ids):
                found = self._brought(name, platform, report)
            self._images[key] = found
        return self._images[key]

    def _find(self, name: str, platform: Platform | None) -> Image | None:
        """The image if it is here. Raises Waiting."""
        if name in self.links:
            from .links import linked_image

            return linked_image(self, name, platform)
        return self.sources.find(name, platform)

    def _brought(self, name: str, platform: Platform | None, report: StepReport) -> Image:
        if not self.builds_steps:
            raise MissingFiles(f"image {name} has to be pulled")
        if name in self.links and self.schedules:
            raise Waiting(("target", name))
        if name in self.links:
            raise NotFound(f"{name} is not built yet")

        def work() -> Descriptor:
            image = self.sources.resolve(name, platform, report)
            self._ensure_trees(image)
            return image.descriptor

        if self.schedules:
            raise Waiting(("image", name, platform), work)
        return Image.load(self.store, work())

    def bases(self) -> tuple[tuple[str, str, str], ...]:
        """Name, platform and digest of the images that were needed."""
        return tuple(
            (name, str(image.config.platform), str(image.digest)) for name, image in self.used_images()
        )

    def used_images(self) -> list[tuple[str, Image]]:
        """The images that were needed, by the names of the file."""
        return [(name, image) for (name, _), image in self._images.items()]

    def learn(self, name: Name, found: Any) -> None:
        """Keep what another process has found: an image, or the digest of files."""
        if name[0] == "image":
            _, image, platform = name
            self._images[str(image), platform] = Image.load(self.store, found)  # type: ignore[index]
        elif name[0] == "layers":
            self.cache.imports.brought(name[1:])  # type: ignore[arg-type]
        elif name[0] == "content":
            self._contents[str(name[1])] = found
        elif name[0] == "url":
            self.downloads.keep(str(name[1]), found)
        elif name[0] == "git":
            self.repositories.keep(name[1], found)  # type: ignore[arg-type]

    # --- what processes that work for this one do, and tell

    def work_alone(self, steps: Steps, ran: Callable[[str, str, str], object]) -> None:
        """In such a process, first of all. `ran` hears of an active, its upper folder, and a key."""
        self.ran = ran
        self.schedules, self.helps = False, True
        self.report.steps = steps
        self.cache.ran = self.cache.cached = 0
        self.cache.used, self.cache.made = {}, set()
        self.cache.imports.forked()
        self.contexts.news()
        self.misses.last.news()
        self.sources.forked()

    def told(self) -> tuple[Any, ...]:
        """What such a process has learnt, besides its result."""
        cache, roots = self.cache, self.store.actives.kept_roots()
        cache.settle()
        learnt = self.contexts.news(), self.misses.last.news()
        return cache.ran, cache.cached, (cache.used, cache.made), learnt, roots

    def hear(self, told: tuple[Any, ...]) -> None:
        """Keep what such a process has told."""
        ran, cached, (used, made), (news, steps), roots = told
        self.cache.ran += ran
        self.cache.cached += cached
        self.cache.used |= used
        self.cache.made |= made
        self.contexts.learn(news)
        self.misses.last.learn(steps)
        self.store.actives.take_roots(roots)

    def _ensure_trees(self, image: Image) -> None:
        missing = set(self.store.trees.missing(image.diff_ids))
        for layer in image.layers if missing else ():
            if layer.diff_id in missing:
                from ...images.layers.ingest import ensure_tree

                ensure_tree(self.store, layer.descriptor, layer.diff_id)
