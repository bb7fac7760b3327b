"""The image of a Python project: base, environment, wheels, and the project on top.

    base ── environment ── numpy ── pandas ── small wheels … ── the project ── its files
            python, user    each a layer that depends on its wheels alone

Whatever exists already, by the key of what it depends on, is neither fetched nor built nor looked into.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

from ....grammars.dockerfile.parse import parse_trigger
from ....grammars.python.files import Pinned
from ....images.dockerfile.fold import CopyAction, Step, start
from ....images.model.platforms import fits, misfit
from ....images.model.proxies import proxy_variables
from ....stores import caches
from ....words.errors import NacreError, UsageError
from ....words.oci import Platform
from ....words.progress import NullProgress
from ..builder import BuildResult, check_options, finish, leaving, once_more, write_caches
from ..cache import Cache
from ..content import content_of
from ..context import BuildContext
from ..filehash import FileHashes
from ..imports import ImportedCaches
from ..items import CopyItem
from ..keys import CopyKey, layers_id
from ..report import BuildReport
from ..scratch import ScratchDirectory
from ..select import select
from ..stageprogress import StageProgress, StepLayer, from_image
from .environment import environment_of
from .index import PackageIndex
from .interpreter import find_interpreter, is_same
from .layout import EXCLUDED, TIME
from .localfiles import LocalFiles
from .logins import IndexLogins
from .plan import plan_of
from .readprojects import ReadProjects
from .start import StartCommand, configured, started
from .supply import WheelSources, WheelSupply
from .wheellayers import MOST_LAYERS, WheelKey, divided, key_of, lay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ....images.attestations.materials import BuildMaterials
    from ....images.model.image import Image
    from ....stores.store import Store
    from ....words.digest import Digest
    from ....words.oci import Descriptor
    from ..builder import BuildOptions, BuildSources, CacheWriter
    from ..inputs import Inputs
    from ..report import StepReport
    from ..select import Selection
    from .container import RunSettings
    from .interpreter import Interpreter
    from .pack import BuildTools, WheelBuilder
    from .plan import ProjectPlan
    from .wheellayers import LaidWheel

    Layer = tuple[Descriptor, Digest]

_BESIDE = 2
"""Layers that are not of wheels: the environment, and files of the project."""


class ProjectBuilder:
    """Builds images of Python projects into one store; the arguments are those of `Builder`."""

    def __init__(
        self, store: Store, sources: BuildSources, report: BuildReport | None = None, *,
        proxies: Mapping[str, str] | None = None, writers: Sequence[CacheWriter] = (),
    ) -> None:  # fmt: skip
        self._store, self._sources, self._writers = store, sources, writers
        self._report = report or BuildReport(NullProgress())
        self._proxies = dict(proxies or {})

    def build(self, inputs: Inputs, options: BuildOptions) -> list[BuildResult]:
        """Build an image for each platform and set the names, or raise and leave none.

        Raises as `Builder.build`.
        """
        check_options(options)
        self._report.names_platforms = len(options.platforms) > 1
        each = [options.replace(platform=one) for one in options.platforms or (options.platform,)]

        def attempt(imports: list[ImportedCaches]) -> tuple[list[ProjectBuild], list[StageProgress]]:
            with ExitStack() as stack:
                builds = [stack.enter_context(self._opened(inputs, one, imports[0])) for one in each]
                return builds, [build.image() for build in builds]

        with self._store.leases.hold():
            imports = [ImportedCaches(self._sources.caches, self._report)]
            return self._results(options, *once_more(attempt, imports, self._report))

    def _results(
        self, options: BuildOptions, builds: Sequence[ProjectBuild], standing: list[StageProgress]
    ) -> list[BuildResult]:
        """Write the images, their names, and caches elsewhere."""
        used = [build.cache for build in builds]
        steps = leaving(used) if self._writers else []
        inline = steps if any(writer.write is None for writer in self._writers) else None
        images = finish(self._store, standing, options, self._report, inline)
        write_caches(self._writers, steps, standing, self._report, used[0].imports.elsewhere)
        return [
            BuildResult(image, build.cache.ran, build.cache.cached, build.materials())
            for image, build in zip(images, builds, strict=True)
        ]

    def dockerfile(self, inputs: Inputs, options: BuildOptions) -> str:
        """A Dockerfile that does the same by pip: with the versions and hashes that a build would take."""
        with self._opened(inputs, options, ImportedCaches()) as build:
            return build.dockerfile()

    def _opened(self, inputs: Inputs, options: BuildOptions, imports: ImportedCaches) -> ProjectBuild:
        cache = Cache(self._store, options.no_cache, imports)
        cache.keeps = not options.is_trial
        proxies = tuple(proxy_variables(self._proxies, dict(options.arguments)).items())
        return ProjectBuild(cache, self._sources, inputs, options, self._report, proxies)


class ProjectBuild:
    """One build at work. `with` it."""

    plan: ProjectPlan
    base: Image
    interpreter: Interpreter
    index: PackageIndex
    supply: WheelSupply
    _installed: list[tuple[str, str, str]]

    def __init__(
        self, cache: Cache, sources: BuildSources, inputs: Inputs, options: BuildOptions, report: BuildReport,
        proxies: tuple[tuple[str, str], ...],
    ) -> None:  # fmt: skip
        self.store, self.cache, self.sources, self.inputs = cache.store, cache, sources, inputs
        self.options, self.report, self.proxies = options, report, proxies

    def __enter__(self) -> ProjectBuild:
        self._stack = ExitStack()
        self._stack.enter_context(self.store.leases.hold())
        self._scratch = self._stack.enter_context(ScratchDirectory(self.store))
        hashes = FileHashes(caches.tables(self.store.root), self.inputs.folder)
        self.context = BuildContext(self.inputs.folder, self.inputs.ignore, hashes)
        self._stack.callback(self.context.close)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    # what everything stands on

    def begin(self) -> None:
        """Read the project and look at the base. Raises UsageError, NotFound, RegistryError."""
        with self._step(f"[internal] load project from {self.inputs.name}"):
            read = ReadProjects(caches.tables(self.store.root))
            self.plan = plan_of(self.inputs, self.options, read)
            read.save()
        self.base = self._resolved(self.options.platform)
        self.interpreter = find_interpreter(self.base, self.plan.settings.base)
        logins = IndexLogins(self.plan.sources, self.options.indexes)
        local = LocalFiles(caches.tables(self.store.root))
        self._stack.callback(local.save)
        folder = caches.wheels(self.store.root)
        self.index = PackageIndex(self.plan.sources, logins, self.sources.fetch, folder, local)
        self.supply = self._supply(self.interpreter, self.options.no_cache or self.options.renew)

    def _supply(self, interpreter: Interpreter, anew: bool = False) -> WheelSupply:
        def packer() -> WheelBuilder:
            from .pack import WheelBuilder

            return WheelBuilder(self._bench, self.index, interpreter.target, self.context)

        return WheelSupply(WheelSources(self.store, self.index, packer), self.plan, interpreter.target, anew)

    @contextmanager
    def _step(self, title: str) -> Iterator[StepReport]:
        """A step that has ended when the block has."""
        step = self.report.step(title)
        try:
            yield step
        except NacreError as error:
            step.failed(error.message)
            raise
        step.done()

    def _resolved(self, platform: Platform | None) -> Image:
        name = self.plan.settings.base
        with self._step(f"[internal] load base {name}") as step:
            image = self.sources.find(name, platform) or self.sources.resolve(name, platform, step)
            if platform is not None and not fits(image, platform):
                raise UsageError(misfit(image, name, platform), hint="choose another with --base")
            self._ensure_trees(image)
        return image

    def _ensure_trees(self, image: Image) -> None:
        from ....images.layers.ingest import ensure_tree

        missing = set(self.store.trees.missing(image.diff_ids))
        for layer in image.layers:
            if layer.diff_id in missing:
                ensure_tree(self.store, layer.descriptor, layer.diff_id)

    def _bring(self, diff_ids: Sequence[Digest], report: StepReport) -> None:
        """See that layers are here that a cache elsewhere has. Raises CacheIncomplete, CacheUnusable."""
        imports = self.cache.imports
        imports.check(self.store, diff_ids)
        imports.bring(self.store, diff_ids, report)

    def _room(self, image: Image) -> RunSettings:
        from .container import RunSettings

        env = dict(start(image.config).env) | dict(self.options.arguments)
        return RunSettings(
            self.store, self.options, self._scratch.path, caches.mounts(self.store.root), self.proxies,
            tuple(env.items()),
        )  # fmt: skip

    def _bench(self) -> BuildTools:
        """Where packages are built: over the base; for another architecture over that of this machine."""
        from .pack import BuildTools

        image, interpreter = self.base, self.interpreter
        if image.config.platform.architecture != Platform.host().architecture:
            image = self._resolved(Platform.host())
            interpreter = find_interpreter(image, self.plan.settings.base)
        step = self.report.step("[internal] tools of builds")
        layer = self._environment(image, interpreter, account=False)
        supply = self._supply(interpreter)

        def laid(requirements: Sequence[str]) -> list[Digest]:
            wheels = [supply.known(one, step) for one in supply.requirements(requirements, step)]
            made = [self._laid(supply, group, "", step) for group in divided(wheels, MOST_LAYERS // 2)]
            diff_ids = [diff_id for _, diff_id in made]
            self._bring(diff_ids, step)
            return diff_ids

        self._bring([layer[1]], step)
        return BuildTools(
            self._room(image), (*image.diff_ids, layer[1]), image.config.platform, interpreter.target, laid
        )

    # layers

    def image(self) -> StageProgress:
        """Everything, as a stage that has ended. Raises as `Builder.build`."""
        self.begin()
        standing = from_image(self.base, start(self.base.config), self._epoch_ns())
        pinned = self._chosen()
        account = not standing.state.user and not self.plan.settings.user
        layer = self._environment(self.base, self.interpreter, account=account)
        standing = self._after(standing, "environment of Python", layer)
        standing = self._with_wheels(standing, pinned)
        standing = self._finished(self._with_files(standing), account)
        if self.cache.imports.lacking(standing.diff_ids):
            with self._step("importing layers from the cache") as step:
                self._bring(standing.diff_ids, step)
        self.cache.settle()
        return standing

    def _epoch_ns(self) -> int | None:
        """SOURCE_DATE_EPOCH, where it is a number; without, the image was made when its base was."""
        text = dict(self.options.arguments).get("SOURCE_DATE_EPOCH", "")
        return int(text) * 10**9 if text.isdecimal() else None

    def _after(self, standing: StageProgress, said: str, layer: Layer | None) -> StageProgress:
        item = parse_trigger(f"LABEL nacre={said!r}", self.inputs.name)
        return standing.after(standing.state, Step(item, f"nacre: {said}"), StepLayer(layer))

    def _chosen(self) -> list[Pinned]:
        """The packages to install, those of the project itself last."""
        with self._step("[resolve] packages") as step:
            found = self.supply.chosen(step)
        project = self.plan.project
        if project.system is None:
            return found
        others = [one for one in found if one.folder != "."]
        return [*others, Pinned(project.name, project.version, folder=".")]

    def _with_wheels(self, standing: StageProgress, pinned: Sequence[Pinned]) -> StageProgress:
        step = self.report.step("[wheels] lay into layers")
        try:
            standing = self._with_groups(standing, pinned, step)
        except NacreError as error:
            step.failed(error.message)
            raise
        step.done()
        return standing

    def _with_groups(
        self, standing: StageProgress, pinned: Sequence[Pinned], step: StepReport
    ) -> StageProgress:
        wheels = [self.supply.known(one, step) for one in pinned if not one.folder]
        self._installed = [
            (one.name, one.version, wheel.sha256)
            for one, wheel in zip([one for one in pinned if not one.folder], wheels, strict=True)
        ]
        own = [self.supply.known(one, step) for one in pinned if one.folder]
        room = MOST_LAYERS - len(standing.layers) - len(own) - _BESIDE
        if room < 1:
            raise UsageError(f"the base has {len(self.base.layers)} layers, too many for wheels upon them")
        groups = [*divided(wheels, room), *([wheel] for wheel in own)]
        code = self._code(step)
        for group, layer in zip(groups, self._all_laid(groups, code, step), strict=True):
            standing = self._after(standing, f"wheels {' '.join(wheel.name for wheel in group)}", layer)
        return standing

    def materials(self) -> BuildMaterials | None:
        """What the image was made from, where somebody asks."""
        if not self.options.is_told:
            return None
        from ....images.attestations.materials import BuildMaterials

        base = self.plan.settings.base, self.base.config.platform, self.base.digest
        return BuildMaterials(images=(base,), packages=tuple(sorted(self._installed)), networked=True)

    def _code(self, step: StepReport) -> str:
        """Who compiles: "" nobody, the number of byte code otherwise."""
        target = self.interpreter.target
        if not self.plan.settings.compile:
            return ""
        runs = self.base.config.platform.architecture == Platform.host().architecture
        if is_same(target) or (runs and target.magic):
            return str(target.magic)
        step.line(f"WARNING: no byte code for Python {target.short}: nothing here can compile for it")
        return ""

    def _all_laid(self, groups: Sequence[Sequence[LaidWheel]], code: str, step: StepReport) -> list[Layer]:
        short = self.interpreter.target.short
        kept = [self._kept_layer(key_of(group, short, code)) for group in groups]
        missing = [wheel for group, layer in zip(groups, kept, strict=True) if not layer for wheel in group]
        here = self.supply.here(missing, step)
        compiled = self._compiled([here[wheel.sha256] for wheel in missing], code, step)
        found = []
        for group, layer in zip(groups, kept, strict=True):
            if layer is None:
                layer = self._made(self.supply, [here[wheel.sha256] for wheel in group], code, compiled).layer
                step.line(" ".join(wheel.name for wheel in group))
            assert layer is not None
            found.append(layer)
        if code and missing:
            laid = [(wheel, layer[1]) for group, layer in zip(groups, found, strict=True) for wheel in group]
            from .bytecodecache import BytecodeCache

            BytecodeCache(self.store, short, code).keep(laid)
        return found

    def _kept_layer(self, key: WheelKey) -> Layer | None:
        made = self.cache.find(key)
        return made.layer if made else None

    def _compiled(self, wheels: Sequence[LaidWheel], code: str, step: StepReport) -> dict[str, bytes]:
        if not code or not wheels:
            return {}
        from .compile import compile_here, compile_there

        known, modules = self._divided(wheels, code)
        if is_same(self.interpreter.target):
            return known | compile_here(modules, self.store.budget)
        if modules:
            step.line(f"compiling by {self.interpreter.path} of the base")
        base, python = self.base, self.interpreter.path
        room, platform = self._room(base), base.config.platform
        return known | compile_there(room, base.diff_ids, platform, python, modules, step)

    def _divided(
        self, wheels: Sequence[LaidWheel], code: str
    ) -> tuple[dict[str, bytes], list[tuple[str, bytes]]]:
        """The byte code of modules that an earlier version has as well, and the modules to compile."""
        known: dict[str, bytes] = {}
        modules: list[tuple[str, bytes]] = []
        from .bytecodecache import BytecodeCache

        with BytecodeCache(self.store, self.interpreter.target.short, code) as cache:
            for wheel, path, source in self._modules(wheels):
                made = b"" if self.options.no_cache else cache.of(wheel, path, source)
                if made:
                    known[path] = made
                else:
                    modules.append((path, source))
        return known, modules

    def _modules(self, wheels: Sequence[LaidWheel]) -> Iterator[tuple[LaidWheel, str, bytes]]:
        from .wheel import opened

        for wheel in wheels:
            with opened(wheel.path, wheel.name) as archive:
                for path, source in archive.modules(self.interpreter.target.short):
                    yield wheel, path, source

    def _laid(self, supply: WheelSupply, group: Sequence[LaidWheel], code: str, step: StepReport) -> Layer:
        """A layer of wheels without byte code, as builds need them."""
        made = self.cache.find(key_of(group, supply.short, code))
        if made is None or made.layer is None:
            here = supply.here(group, step)
            made = self._made(supply, [here[wheel.sha256] for wheel in group], code, {})
        assert made.layer is not None
        return made.layer

    def _made(
        self, supply: WheelSupply, group: Sequence[LaidWheel], code: str, compiled: dict[str, bytes]
    ) -> StepLayer:
        short = supply.short
        layer = lay(self.store, group, short, compiled, f"cpython-{short.replace('.', '')}")
        return self.cache.keep(key_of(group, short, code), StepLayer(layer))

    def _environment(self, image: Image, interpreter: Interpreter, *, account: bool) -> Layer:
        wanted = environment_of(image, interpreter, self.plan.settings.workdir, account=account)
        made = self.cache.find(wanted.key)
        if made is None or made.layer is None:
            made = self.cache.keep(wanted.key, StepLayer(wanted.write(self.store)))
        assert made.layer is not None
        return made.layer

    # the project itself

    def _with_files(self, standing: StageProgress) -> StageProgress:
        """The files of a project that is no package, or those that the settings name."""
        settings = self.plan.settings
        words = settings.files or (() if self.plan.project.system else (".",))
        if not words:
            return standing
        with self._step(f"[files] {' '.join(words)}") as step:
            made = self._copied(standing, words, step)
        return self._after(standing, f"files {' '.join(words)}", made.layer)

    def _copied(self, standing: StageProgress, words: tuple[str, ...], step: StepReport) -> StepLayer:
        """The layer of the files; they bear a fixed time, so that two checkouts make one image."""
        settings = self.plan.settings
        chosen = [one for word in words for one in self._selected(word)]
        action = CopyAction(words, (), f"{settings.workdir.rstrip('/')}/", parents=bool(settings.files))
        content = content_of(self.context, chosen, lambda _content, _pieces: None)
        beneath, platform = layers_id(standing.diff_ids), str(standing.platform)
        key = CopyKey(beneath, platform, TIME, content, action.destination, "", "", False)
        made = self.cache.find(key)
        if made is not None:
            return made
        self._bring(standing.diff_ids, step)
        from ..copy import LayerCopier

        copier = LayerCopier(self.store, standing.diff_ids, self._scratch.path, time_ns=0, clamp=TIME)
        return self.cache.keep(key, StepLayer(copier.copy(action, self.context, chosen, step)))

    def _selected(self, word: str) -> list[Selection]:
        named = bool(self.plan.settings.files)
        found = select(self.context, word, EXCLUDED, named)
        if not found:
            raise UsageError(f"files of [tool.nacre]: {word!r} not found in the project")
        return found

    def _finished(self, standing: StageProgress, account: bool) -> StageProgress:
        wanted = self._start()
        return standing.replace(state=configured(standing.state, self.plan.settings, wanted, account))

    def _scripts(self) -> list[str]:
        """The console scripts of the project, if it is a package."""
        project = self.plan.project
        if project.system is None:
            return []
        if project.scripts or not project.dynamic:
            return [name for name, _ in project.scripts]
        from .wheel import console_scripts

        step = self.report.step("[start] what the container runs")
        return console_scripts(self.supply.built(".", step).scripts)

    def _start(self) -> StartCommand:
        top = self.context.children(CopyItem(b"", "dir", 0o755, 0))
        names = [item.path.decode("utf-8", "replace") for item in top if item.kind == "file"]
        found = started(self.plan, names, self._scripts())
        if found.why:
            self.report.step("[start] what the container runs").line(f"WARNING: {found.why}")
        return found

    # in words

    def dockerfile(self) -> str:
        """The same by pip."""
        from .dockerfile import dockerfile_of

        self.begin()
        pinned = self._chosen()
        return dockerfile_of(
            self.plan, self.interpreter, pinned, self._start(), bool(self.base.config.run.get("User"))
        )
