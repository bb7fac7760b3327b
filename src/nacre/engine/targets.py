"""The targets of a bake file, built side by side."""

from __future__ import annotations

from contextlib import ExitStack

from ..grammars.bake import hcl
from ..grammars.dockerfile.namedcontext import IMAGE, TARGET
from ..services.build import BuildOptions, BuildReport
from ..services.build.targets import BuildTarget, TargetGraph
from ..words.errors import BuildFailed, DockerfileError, NacreError, Unsupported
from ..words.progress import NullProgress
from ..words.value import Value
from . import building
from .building import attested
from .buildrecords import BuildRecording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..services.build import BuildResult, Inputs
    from ..services.build.remotecontext import RemoteFiles
    from ..stores.store import Store
    from ..words.progress import Progress
    from . import Engine
    from .archives import Origin


class BakeTarget(Value):
    """One build of several: its name, and what `Engine.build` takes for it.

    Contexts of the options may be `target:NAME`, the image of a target before this one.
    """

    name: str
    context: Origin
    dockerfile: Origin = ""
    options: BuildOptions = BuildOptions()
    pull: str = "missing"


def fetched_files(
    engine: Engine, url: str, names: tuple[Sequence[str], Sequence[str]],
    secrets: tuple[tuple[str, bytes], ...], progress: Progress | None,
) -> RemoteFiles:  # fmt: skip
    """Bake files from a repository or a URL: those that are named, or those usual ones that are there."""
    from ..services.build.remotecontext import RemoteContexts

    options, report = BuildOptions(secrets=secrets), BuildReport(progress or NullProgress())

    def work(store: Store) -> RemoteFiles:
        sources = building.sources_of(engine, options, "missing")
        return RemoteContexts(store, sources, options, report).files(url, *names, hcl.MOST)

    return engine.inside(work)


class TargetBuilder:
    """Opens targets and builds those that are Python projects. Use it in the process that builds."""

    def __init__(self, engine: Engine, targets: Sequence[BakeTarget], progress: Progress | None) -> None:
        self._engine, self._targets = engine, targets
        self._report = BuildReport(progress or NullProgress())
        self._projects: dict[str, list[BuildResult]] = {}
        self._recordings: dict[str, BuildRecording] = {}

    def build(self) -> list[BuildResult]:
        """What each has made, in their order, one result for each platform."""
        with ExitStack() as stack:
            ready = [each for each in (self._ready(stack, target) for target in self._targets) if each]
            made = TargetGraph(self._engine.store, ready, self._report).build() if ready else []
            found = self._projects | {
                each.name: self._attested(each, one) for each, one in zip(ready, made, strict=True)
            }
            return [result for target in self._targets for result in found[target.name]]

    def _attested(self, target: BuildTarget, results: list[BuildResult]) -> list[BuildResult]:
        done = attested(self._engine, target.inputs, target.options, results, self._report)
        return self._recordings[target.name].made(done)

    def _recording(
        self, stack: ExitStack, target: BakeTarget, options: BuildOptions, report: BuildReport
    ) -> BuildRecording:
        """The record of a target, which ends with the stack."""
        name = target.name if len(self._targets) > 1 else ""
        origins = target.context, target.dockerfile
        made = BuildRecording(self._engine, origins, options, report, name)
        self._recordings[target.name] = stack.enter_context(made)
        return made

    def _ready(self, stack: ExitStack, target: BakeTarget) -> BuildTarget | None:
        """None for a project without a Dockerfile, which has been built then."""
        engine, report = self._engine, self._report
        if len(self._targets) > 1:
            report = report.of_target(target.name)
        opened: list[Inputs] = []

        def blame(error: NacreError) -> NacreError:
            return self._blamed(target, opened, error)

        try:
            options = building.permitted_options(engine, self._linked(target))
            sources = building.sources_of(engine, options, target.pull)
            origins = target.context, target.dockerfile
            recording = self._recording(stack, target, options, report)
            opened.append(
                stack.enter_context(building.opened_inputs(engine, origins, sources, options, report))
            )
            recording.read(opened[0])
            if opened[0].is_project:
                wanted = building.for_project(engine, options, target.pull)
                results = building.built(engine, opened[0], wanted, sources, report)
                done = attested(engine, opened[0], options, results, report)
                self._projects[target.name] = recording.made(done)
                return None
            building.check_for_dockerfile(options, opened[0])
            builder = stack.enter_context(building.builder_of(engine, options, sources, report))
        except NacreError as error:
            raise blame(error) from None
        return BuildTarget(target.name, builder, opened[0], options, blame)

    def _linked(self, target: BakeTarget) -> BuildOptions:
        """The options with the images of projects, which are there already, in place of their targets."""
        contexts = [(name, self._image(target, value)) for name, value in target.options.contexts]
        return target.options.replace(contexts=tuple(contexts))

    def _image(self, target: BakeTarget, value: str) -> str:
        name = value.removeprefix(TARGET)
        if name == value or name not in self._projects:
            return value
        images = [result.image for result in self._projects[name]]
        if len(images) > 1:
            raise Unsupported(
                f"the target {target.name} is made from {name}, which has several platforms",
                hint="build both for one platform at a time",
            )
        return f"{IMAGE}{images[0].id}"

    def _blamed(self, target: BakeTarget, opened: Sequence[Inputs], error: NacreError) -> NacreError:
        if opened and isinstance(error, DockerfileError | BuildFailed):
            building.quote(opened[0], error)
        if len(self._targets) > 1:
            error.message = f"target {target.name}: {error.message}"
            error.args = (error.message,)
        return error
