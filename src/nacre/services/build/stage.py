"""One stage of a build: from its base through its steps."""

from __future__ import annotations

from contextlib import suppress

from ...grammars.dockerfile.glob import has_wildcard
from ...grammars.dockerfile.instructions import CopyInstruction, FromInstruction
from ...grammars.dockerfile.mounts import is_bound
from ...grammars.dockerfile.tokens import did_you_mean
from ...images.dockerfile.fold import (
    CopyAction,
    RunAction,
    Step,
    WorkdirAction,
    continued,
    is_remote,
    is_url,
    start,
)
from ...images.dockerfile.plan import CACHES, HOSTNAME
from ...words.errors import (
    CacheUnusable,
    Conflict,
    NacreError,
    NotFound,
    RegistryError,
    UsageError,
)
from .content import content_of
from .context import ContextFiles, missing_hint
from .difference import Reason
from .entitlements import enforce
from .epoch import limit_times
from .fault import at_fault
from .history import StepPlace
from .items import beside
from .keys import CopyKey, DownloadKey, RunKey, StageCopyKey, WorkdirKey, layers_id
from .missing import MissingFiles, are_known
from .select import select
from .stageprogress import StepLayer, WritingLayer, from_image, shown
from .waiting import Waiting, there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import TypeVar

    from ...grammars.dockerfile.gitsource import GitSource
    from ...grammars.dockerfile.instructions import Instruction
    from ...grammars.dockerfile.mounts import RunMount
    from ...images.dockerfile.fold import StageState
    from ...images.dockerfile.plan import Base, StagePlan
    from ...stores.trees import Active
    from ...words.digest import Digest
    from ...words.oci import Platform
    from .copy import LayerCopier
    from .items import CopySource
    from .keys import Key
    from .report import StepReport
    from .select import Selection
    from .session import BuildSession
    from .stageprogress import StageProgress
    from .waiting import Answer, Name, StageSteps

    T = TypeVar("T")
    MountedFiles = tuple[RunMount, CopySource | None, Selection | None]

_BRIEF = 8 << 20
"""Bytes that are copied in a moment."""
_NUMBERED = ("RUN", "COPY", "ADD", "WORKDIR")
_MARKS = frozenset("/:@")
"""What the name of an image may have and that of a stage may not."""


class StageBuild:
    """Builds one stage of a session."""

    def __init__(self, session: BuildSession, planned: StagePlan) -> None:
        self._session, self._planned = session, planned
        self._number, self._length, self._kind = 0, planned.length, ""
        self._chosen: dict[int, list[Selection]] = {}
        self._left: tuple[StageState, Sequence[Instruction]]
        self._platform: Platform
        self._is_new = False
        self._beside: set[Name] = set()
        self._beneath: Callable[[], Reason] = Reason
        self._places: dict[StepReport, StepPlace] = {}
        self._told: set[StepReport] = set()
        self._anew = planned.title in session.options.no_cache_filter
        self._above: list[tuple[StageState, Step, StepLayer | None]] = []

    def build(self) -> StageSteps:
        """Do everything; the stage as it stands at its end. Yields what it has to wait for: see `waiting`."""
        standing, triggers = yield from self._base()
        session = self._session
        session.warn(session.checks.of_stage(self._planned, standing.state, triggers))
        if triggers:
            standing = yield from self._inherited(standing, triggers)
        return (yield from self._steps(standing, self._planned.stage.instructions))

    def _inherited(self, standing: StageProgress, triggers: list[Instruction]) -> StageSteps:
        """The ONBUILD triggers done; they are counted by themselves: the file does not show them."""
        kept = self._number, self._length, self._kind
        self._number, self._length = 0, sum(item.name in _NUMBERED for item in triggers)
        self._kind = "onbuild "
        standing = yield from self._steps(standing, triggers)
        self._number, self._length, self._kind = kept
        return standing

    def _steps(self, standing: StageProgress, instructions: Sequence[Instruction]) -> StageSteps:
        self._is_new = True
        state, self._platform = standing.state, standing.platform
        for at, item in enumerate(instructions, 1):
            state, step = self._session.fold.advance(state, item)
            self._left = state, instructions[at:]
            if self._above and step.action and not self._can_follow(step, standing):
                standing = yield from self._settled(standing)
            made = (yield from self._made(standing, step)) if step.action else None
            if self._above and step.action:
                standing = yield from self._settled(standing)
            if self._above or isinstance(made, WritingLayer):
                self._above.append((state, step, made))
            else:
                standing = standing.after(state, step, made)
        return (yield from self._settled(standing))

    def _settled(self, standing: StageProgress) -> StageSteps:
        """After the step whose layer was still being written, and those that follow it without files."""
        for state, step, made in self._above:
            if isinstance(made, WritingLayer):
                name = made.name
                made, _ = yield Waiting(("settled", *name))  # type: ignore[misc]  # never None
            standing = standing.after(state, step, made)
        self._above = []
        return standing

    @property
    def _unsettled(self) -> WritingLayer | None:
        """The step whose layer is still being written, and over which the next one begins."""
        return next((made for _, _, made in self._above if isinstance(made, WritingLayer)), None)

    def _is_followed(self, standing: StageProgress) -> bool:
        """Whether the next step that does anything may begin while the layer of this one is being written."""
        if not (self._session.overlaps and self._session.ran):
            return False
        state, instructions = self._left
        with suppress(NacreError):
            for item in instructions:
                state, step = self._session.fold.advance(state, item)
                if step.action:
                    return self._can_follow(step, standing)
        return False

    def _can_follow(self, step: Step, standing: StageProgress) -> bool:
        """Whether it is a RUN that looks at nothing but its root, and that cannot be in the cache."""
        action = step.action
        if not isinstance(action, RunAction) or any(map(is_bound, action.mounts)):
            return False
        key = self._run_key(standing, action, [""] * len(action.mounts))
        return self._anew or self._session.cache.is_new(key)

    def _made(self, standing: StageProgress, step: Step) -> Generator[Waiting, Answer, StepLayer]:
        """What a step makes, here or beside this stage."""
        title = self._title(shown(step)) if step.instruction.name in _NUMBERED else step.created_by
        name = self._name(self._number)
        if name in self._beside:
            return (yield from there(lambda: self._session.side(name)))
        return (yield from self._do(standing, step, title))

    def _name(self, number: int) -> Name:
        """What others call a step of this stage."""
        return ("side", self._planned.index, self._kind, number, self._session.plan.platform)

    def ahead(self) -> list[tuple[Name, Generator[Waiting, Answer, object]]]:
        """What can be done before the steps that are left come to it: a name for each, and its steps.

        To be asked when the stage has to wait. These are files and images that must be fetched, and steps
        that depend on none before them in their stage.
        """
        if not self._is_new:
            return []
        self._is_new = False
        (state, instructions), number = self._left, self._number
        found: list[tuple[Name, Generator[Waiting, Answer, object]]] = []
        with suppress(NacreError):  # it is raised when the stage has come to it
            for item in instructions:
                state, step = self._session.fold.advance(state, item)
                number += bool(step.action) and item.name in _NUMBERED
                if isinstance(step.action, CopyAction) and isinstance(item, CopyInstruction):
                    found += self._copied_ahead(step, item, step.action, number)
        return found

    def _copied_ahead(
        self, step: Step, item: CopyInstruction, action: CopyAction, number: int
    ) -> list[tuple[Name, Generator[Waiting, Answer, object]]]:
        name = self._name(number)
        if action.is_independent:
            self._beside.add(name)
            nothing = self._session.nothing(self._platform)
            return [(name, self._do(nothing, step, self._titled(number, shown(step))))]
        if all(map(is_url, action.sources)):
            urls = zip(action.sources, item.sources, strict=True)
            return [((*name, url), there(self._download(item, action, url, token))) for url, token in urls]
        if not action.origin or (base := self._meant(item, action.origin)).stage is not None:
            return []
        if base.context:
            return [(name, there(lambda: self._named(item, base)))]
        return [(name, self._pulled(item, action.origin))]

    def _pulled(self, item: Instruction, name: str) -> Generator[Waiting, Answer, None]:
        """The image of a --from that comes later."""
        report = self._session.report.step(f"FROM {name}")
        try:
            yield from there(lambda: self._origin(item, name, self._platform, report), report)
        except NacreError as error:
            report.failed(error.message)
            raise
        if report.has_begun:
            report.done()

    def _download(
        self, item: CopyInstruction, action: CopyAction, url: str, token: str
    ) -> Callable[[], None]:
        return lambda: self._session.download(url, action.checksum, at_fault(item, token))

    def _base(self) -> Generator[Waiting, Answer, tuple[StageProgress, list[Instruction]]]:
        """Where the stage begins, and the ONBUILD triggers of what it begins from."""
        session, base = self._session, self._planned.base
        platform = self._planned.platform or session.options.platform
        if (number := base.stage) is not None:
            before = yield from there(lambda: session.stage(number))
            self._beneath = lambda: Reason(f"stage {base.name} changed")
            triggers = _triggers(before.state.run.get("OnBuild"), base.name)
            return before.replace(state=continued(before.state)), triggers
        if base.is_scratch:
            return session.nothing(platform), []
        if base.context:
            return (yield from self._from_files(base, platform)), []
        report = session.report.step(self._title(f"FROM {base.name}"))
        try:
            item = self._planned.stage.base
            image = yield from there(lambda: session.image(base.name, platform, item, report), report)
        except MissingFiles as error:
            session.misses.forecast(report.title, "pull", str(error))
            raise
        except NacreError as error:
            report.failed(error.message)
            if isinstance(error, NotFound | RegistryError) and self._planned.index:
                raise self._neither(self._planned.stage.base, "FROM", base.name, error) from None
            raise
        if not session.checks.are_errors:
            session.warn(session.checks.misfit(self._planned, image, platform or session.plan.platform))
        report.done()
        place = StepPlace(self._planned.title, item.line.line, f"FROM {base.name}")
        self._beneath = session.misses.base(place, image.descriptor.digest)
        session.misses.forecast(report.title, "here")
        standing = from_image(image, start(image.config), session.epoch_ns)
        return standing, _triggers(image.config.run.get("OnBuild"), base.name)

    def _from_files(self, base: Base, platform: Platform | None) -> StageSteps:
        """All files of a context as the one layer of the stage."""
        nothing, text = self._session.nothing(platform), f"FROM {base.name}"
        step = Step(self._planned.stage.base, text, CopyAction(("/",), (), "/", base.name))
        made = yield from self._do(nothing, step, self._title(text))
        return nothing.after(nothing.state, step, made)

    def _title(self, text: str) -> str:
        self._number += 1
        return self._titled(self._number, text)

    def _titled(self, number: int, text: str) -> str:
        session, planned = self._session, self._planned
        name = f"{planned.title} " if len(session.plan.stages) > 1 else ""
        if session.report.names_platforms:
            name = f"{_shown_platform(planned.platform, session.plan.platform)} {name}"
        return f"[{name}{self._kind}{number:>{len(str(self._length))}}/{self._length}] {text}"

    def _do(self, standing: StageProgress, step: Step, title: str) -> Generator[Waiting, Answer, StepLayer]:
        """What a step makes, from the cache or anew. Errors without a place get that of the step."""
        report = self._session.report.step(title)
        item = step.instruction
        text = step.created_by if isinstance(item, FromInstruction) else item.code
        self._places[report] = StepPlace(self._planned.title, item.line.line, text)
        try:
            return (yield from there(lambda: self._dispatch(standing, step, report), report))
        except MissingFiles as error:
            return self._forecast(report, "maybe", str(error))
        except (UsageError, Conflict) as error:
            report.failed(error.message)
            raise step.instruction.error(error.message, hint=error.hint) from None
        except CacheUnusable:
            report.canceled()
            raise
        except NacreError as error:
            report.failed(error.message)
            raise

    def _dispatch(self, standing: StageProgress, step: Step, report: StepReport) -> StepLayer:
        action = step.action
        if isinstance(action, RunAction):
            return self._run(standing, step.instruction, action, report)
        if isinstance(action, WorkdirAction):
            return self._workdir(standing, action, report)
        if isinstance(action, CopyAction) and isinstance(step.instruction, CopyInstruction):
            return self._copy(standing, step.instruction, action, report)
        if isinstance(action, CopyAction) and isinstance(step.instruction, FromInstruction):
            source = self._named(step.instruction, self._planned.base)
            return self._copy_chosen(source, standing, action, select(source, "/"), report)
        raise TypeError(action)

    def _common(self, standing: StageProgress) -> tuple[str, str, int | None]:
        return layers_id(standing.diff_ids), str(standing.platform), self._session.clamp

    def _kept(
        self, standing: StageProgress, key: Key, report: StepReport, *, is_last: bool = True
    ) -> StepLayer | None:
        """What is kept for a key; if nothing is, it is told why, unless there is another key to ask for."""
        made = self._session.cache.find(key, disabled=self._anew)
        if made is not None and made.layer and self._session.helps:
            self._session.bring([made.layer[1]], report)  # which the process that schedules does not know
        if made is None:
            self._missed(standing, key, report, is_last=is_last)
        else:
            report.cached()
            self._session.misses.forecast(report.title, "cached")
            self._note(key, report, done=True, is_last=is_last)
        return made

    def _missed(self, standing: StageProgress, key: Key, report: StepReport, *, is_last: bool = True) -> None:
        if is_last:
            self._tell_why(standing, key, report)
        number = report.title.partition("]")[0].rpartition(" ")[2].lstrip("[")
        self._beneath = lambda: Reason(f"step {number} made other files")
        self._note(key, report, done=False, is_last=is_last)

    def _note(self, key: Key, report: StepReport, *, done: bool, is_last: bool = True) -> None:
        """Remember the inputs of a step for the next build."""
        place = self._places[report]
        place = place if is_last else place.replace(stage=f"from {place.stage}")
        self._session.misses.last.note(place, key.inputs, done=done)

    def _tell_why(self, standing: StageProgress, key: Key, report: StepReport) -> None:
        misses = self._session.misses
        if report in self._told or (self._anew and misses.forecasts is None):
            return
        self._told.add(report)
        texts = {item.code for item in self._planned.stage.instructions}
        why = misses.why(self._places[report], key, texts, self._beneath(), standing.state.args)
        if misses.forecasts is None and why.text:
            report.line(f"not cached: {why.text}")
        status = "maybe" if why.is_beneath and not are_known(standing.diff_ids) else "run"
        misses.forecast(report.title, status, why.text, why.details)

    def _forecast(self, report: StepReport, status: str, why: str) -> StepLayer:
        self._session.misses.forecast(report.title, status, why)
        return self._session.misses.unknown()

    def _keep(self, key: Key, made: StepLayer, report: StepReport, *, own: bool = False) -> StepLayer:
        made = self._session.cache.keep(key, made, own=own or self._anew)
        self._note(key, report, done=True)
        report.done()
        return made

    def _later(self, key: Key, work: Callable[[], StepLayer], *, is_brief: bool = False) -> StepLayer:
        """What `work` makes for a key that was not found, done now or in another process."""
        return self._session.later(("step", key.digest), work, is_brief=is_brief)

    def _run(
        self, standing: StageProgress, item: Instruction, action: RunAction, report: StepReport
    ) -> StepLayer:
        session = self._session
        enforce(action, item, session.options)
        mounts = self._mounts(action, item, report) if action.mounts else []
        network = action.network or session.options.network
        keep = session.misses.keep_list
        contents = [
            content_of(source, [chosen], keep) if source and chosen else "" for _, source, chosen in mounts
        ]
        key, above = self._run_key(standing, action, contents), self._unsettled
        if above is not None:
            self._missed(standing, key, report)
        elif (made := self._kept(standing, key, report)) is not None:
            return made
        session.bring(standing.diff_ids, report)
        from .run import RunJob, permit, run_job

        warning = permit(session.store, item)
        if warning and not session.warned:
            report.line(warning)
            session.warned = True
        job = RunJob(
            action, item, standing.diff_ids, standing.platform, network, tuple(mounts), session.proxies,
            self._latest(standing), session.options.hosts, session.options.secrets,
            session.options.shm_size, session.options.limits, session.options.ulimits,
            session.plan.arguments.get(HOSTNAME, ""), session.options.agents, above,
            session.options.on_fail, self._fill(report),
        )  # fmt: skip
        session.cache_mounts |= job.cache_names
        name = f"run-{self._planned.index}-{self._kind.strip()}{self._number}"

        def real(layers: Sequence[Digest]) -> RunKey:
            return key.replace(parent=layers_id(layers))

        def ran(active: Active) -> None:
            report.done()
            if session.ran:
                session.ran(active.key, active.upper, real(active.layers).digest)

        def work() -> StepLayer:
            folders = f"{session.scratch}/{name}", session.caches
            is_followed = self._is_followed(standing)
            beneath, layer = run_job(session.store, job, folders, report, ran if is_followed else None)
            return self._keep(real(beneath), StepLayer(layer), report, own=is_followed)

        if above is not None:
            return session.later(("step", self._planned.index, self._kind, self._number), work)
        return self._later(key, work)

    def _fill(self, report: StepReport) -> Callable[[str, str], object] | None:
        fill = self._session.sources.fill
        return (lambda name, folder: fill(name, folder, report)) if fill else None

    def _run_key(self, standing: StageProgress, action: RunAction, contents: Sequence[str]) -> RunKey:
        options = self._session.options
        labels = tuple(f"{text} {digest}" for text, digest in zip(action.mounts, contents, strict=True))
        labels += (f"/dev/shm {options.shm_size}",) if options.shm_size else ()
        labels += ("insecure",) if action.insecure else ()
        hostname = self._session.plan.arguments.get(HOSTNAME, "")
        labels += (f"hostname {hostname}",) if hostname else ()
        parent, platform, _ = self._common(standing)
        return RunKey(
            parent, platform, self._latest(standing), action.argv, action.env, action.user, action.workdir,
            action.network or options.network, labels, action.scripts, options.hosts,
        )  # fmt: skip

    def _latest(self, standing: StageProgress) -> int | None:
        """The latest time that what a RUN writes may bear."""
        return self._session.times.latest(self._planned.index, standing.time_ns)

    def _mounts(self, action: RunAction, item: Instruction, report: StepReport) -> list[MountedFiles]:
        from ...grammars.dockerfile.mounts import parse_mount
        from .mounts import begun_from, check, in_namespace

        found: list[MountedFiles] = []
        platform = self._session.options.platform
        for text in action.mounts:
            mount = parse_mount(text, item)
            check(mount, item, dict(self._session.options.secrets), dict(self._session.options.agents))
            mount = in_namespace(mount, self._session.plan.arguments.get(CACHES, ""), action.workdir)
            shows = mount.kind == "bind" or (mount.kind == "cache" and mount.source_stage)
            source = self._source(item, mount.source_stage, platform, report) if shows else None
            chosen = select(source, mount.source) if source else []
            if source and not chosen:
                raise item.error(f"--mount: {mount.source!r} not found in {source.name}")
            if source and mount.kind == "cache":
                content = content_of(source, chosen, self._session.misses.keep_list)
                mount = begun_from(mount, chosen[0], content, item)
            found.append((mount, source, chosen[0] if chosen else None))
        return found

    def _meant(self, item: Instruction, text: str) -> Base:
        """What `--from=text` means in this stage."""
        return self._session.plan.source(item, text, self._planned.index)

    def _named(self, item: Instruction, base: Base) -> ContextFiles:
        """The files of a named context. Raises Waiting."""
        return self._session.contexts.named(self._session, base.context, at_fault(item, base.name))

    def _origin(
        self, item: Instruction, text: str, platform: Platform | None, report: StepReport
    ) -> tuple[tuple[Digest, ...], str]:
        """The layers that `--from=text` means, and how to call them."""
        session, base = self._session, self._meant(item, text)
        if base.stage is not None:
            return session.stage(base.stage).diff_ids, f"stage {text}"
        if base.is_scratch:
            return (), text

        def neither(error: NacreError) -> NacreError:
            if not isinstance(error, NotFound | RegistryError):
                return error
            return self._neither(item, f"--from={text}", base.name, error)

        try:
            return session.image(base.name, platform, item, report).diff_ids, f"image {base.name}"
        except Waiting as waiting:
            waiting.blame = neither
            raise
        except (NotFound, RegistryError) as error:
            raise neither(error) from None

    def _neither(self, item: Instruction, said: str, name: str, error: NacreError) -> NacreError:
        """A name that is no stage means an image, as in docker; a mistyped stage must not read as that."""
        if not _MARKS.isdisjoint(name):
            return error
        before = [planned.stage.name for planned in self._session.plan.stages[: self._planned.index]]
        hint = did_you_mean(name, [stage for stage in before if stage], prefix="the stage ")
        message = f"{said}: {name!r} is neither an earlier stage nor an available image: {error.message}"
        return item.error(message, hint=hint or error.hint)

    def _source(
        self, item: Instruction, text: str, platform: Platform | None, report: StepReport
    ) -> CopySource:
        base = self._meant(item, text) if text else None
        if base is None or base.context:
            return self._named(item, base) if base else self._session.context
        from .layers import Layers

        origin = self._origin(item, text, platform, report)
        if not are_known(origin[0]):
            raise MissingFiles(f"cached if {origin[1]} has the files of the last time")
        self._session.bring(origin[0], report)
        return self._session.opened(Layers(self._session.store, *origin))

    def _copy(
        self, standing: StageProgress, item: CopyInstruction, action: CopyAction, report: StepReport
    ) -> StepLayer:
        if action.is_independent:
            standing = self._session.nothing(standing.platform)
        if not action.origin or self._meant(item, action.origin).context:
            source = self._source(item, action.origin, standing.platform, report)
            return self._copy_from(source, standing, item, action, report)
        diff_ids, _ = self._origin(item, action.origin, standing.platform, report)
        words = (*action.sources, f"parents={action.parents}", *action.excludes)
        key = StageCopyKey(
            *self._common(standing), layers_id(diff_ids), action.destination, action.chown, action.mode,
            action.unpack, action.link, words, action.contents,
        )  # fmt: skip
        if (made := self._kept(standing, key, report, is_last=False)) is not None:
            return made
        self._session.bring(diff_ids, report)

        def work() -> StepLayer:
            source = self._source(item, action.origin, standing.platform, report)
            made = self._copy_from(source, standing, item, action, report)
            self._session.cache.alias(key, made)
            return made

        if not self._session.builds_steps:
            return work()
        is_brief = len(action.sources) == 1 and "*" not in action.sources[0]
        return self._later(key, work, is_brief=is_brief)

    def _copy_from(
        self,
        source: CopySource,
        standing: StageProgress,
        item: CopyInstruction,
        action: CopyAction,
        report: StepReport,
    ) -> StepLayer:
        if id(item) not in self._chosen:
            self._chosen[id(item)] = self._select(source, standing, item, action, report)
        chosen = self._chosen[id(item)]
        if any(map(is_remote, action.sources)):
            source = beside(source)
        return self._copy_chosen(source, standing, action, chosen, report)

    def _copy_chosen(
        self,
        source: CopySource,
        standing: StageProgress,
        action: CopyAction,
        chosen: list[Selection],
        report: StepReport,
    ) -> StepLayer:
        key = self._copy_key(source, standing, action, chosen, report)
        if (made := self._kept(standing, key, report)) is not None:
            return made
        session = self._session
        anywhere = key.replace(parent="")
        session.bring(standing.diff_ids, report)

        def work() -> StepLayer:
            newest = self._clamped(session.times.newest(self._planned.index, source, chosen, action.sources))
            if action.contents:
                newest = max(newest, standing.time_ns) or session.times.undated_ns
            known = session.cache.knows(anywhere)
            copier = self._copier(standing, max(newest, standing.time_ns), known)
            made = self._keep(key, StepLayer(copier.copy(action, source, chosen, report), newest), report)
            session.cache.note(anywhere, made)
            return made

        return self._later(
            key, work, is_brief=sum(item.size for one in chosen for _, item in one.files) < _BRIEF
        )

    def _copy_key(
        self,
        source: CopySource,
        standing: StageProgress,
        action: CopyAction,
        chosen: list[Selection],
        report: StepReport,
    ) -> CopyKey:
        if isinstance(source, ContextFiles):
            content = self._session.content(source, chosen, report)
        else:
            content = content_of(source, chosen, self._session.misses.keep_list)
        fields = (
            *self._common(standing), content, action.destination, action.chown, action.mode, action.unpack,
            action.link, action.contents,
        )  # fmt: skip
        if not any(map(is_url, action.sources)):
            return CopyKey(*fields)
        from .downloads import unpacks

        return DownloadKey(*fields, tuple(unpacks(action, one) for one in chosen))

    def _clamped(self, time_ns: int) -> int:
        epoch = self._session.epoch_ns
        return time_ns if epoch is None else min(time_ns, epoch)

    def _copier(self, standing: StageProgress, time_ns: int, known: bool = False) -> LayerCopier:
        from .copy import LayerCopier

        session = self._session
        return LayerCopier(
            session.store, standing.diff_ids, session.scratch, time_ns=time_ns, clamp=session.clamp,
            known=known,
        )  # fmt: skip

    def _select(
        self,
        source: CopySource,
        standing: StageProgress,
        item: CopyInstruction,
        action: CopyAction,
        report: StepReport,
    ) -> list[Selection]:
        chosen: list[Selection] = []
        repositories = action.repositories or (None,) * len(action.sources)
        for word, token, repository in zip(action.sources, item.sources, repositories, strict=True):
            if repository:
                chosen.append(self._cloned(item, action, repository, token))
                continue
            if is_url(word):
                undated = standing.time_ns  # the newest input so far, or the epoch asked for
                self._download(item, action, word, token)()
                try:
                    chosen.append(self._session.downloads.select(word, action.checksum, undated))
                except NacreError as error:
                    raise at_fault(item, token)(error) from None
                continue
            found = select(source, word, action.excludes, action.parents)
            if not found and not has_wildcard(word):
                raise item.error(
                    f"{word!r} not found in {source.name}", token, hint=missing_hint(source, word)
                )
            if not found:
                report.line(f"WARNING: {word!r} matches nothing in {source.name}")
            chosen += found
        if action.origin and (limit_ns := self._limit(item, action, standing)):
            limit_times(chosen, limit_ns)
        return chosen

    def _limit(self, item: Instruction, action: CopyAction, standing: StageProgress) -> int:
        """The latest time of files from a stage that keeps its times, where this one does not; 0 for none."""
        session, here = self._session, self._planned.index
        stage = session.plan.source(item, action.origin, here).stage
        if stage is None or not session.times.is_bound(here) or session.times.is_bound(stage):
            return 0
        return max(session.stage(stage).time_ns, standing.time_ns)

    def _cloned(
        self, item: CopyInstruction, action: CopyAction, repository: GitSource, token: str
    ) -> Selection:
        blame = at_fault(item, token)
        self._session.clone(repository, blame)
        try:
            return self._session.repositories.select(repository, action.excludes)
        except NacreError as error:
            raise blame(error) from None

    def _workdir(self, standing: StageProgress, action: WorkdirAction, report: StepReport) -> StepLayer:
        key = WorkdirKey(*self._common(standing), action.path, action.user)
        if (made := self._kept(standing, key, report)) is not None:
            return made
        if not self._session.builds_steps:
            return self._session.misses.unknown()
        self._session.bring(standing.diff_ids, report)
        time_ns = standing.time_ns or self._session.times.undated_ns
        return self._keep(key, StepLayer(self._copier(standing, time_ns).folder(action), time_ns), report)


def _shown_platform(own: Platform | None, target: Platform) -> str:
    """As BuildKit: `linux/arm64`, or `linux/amd64->arm64` for a stage that works for another platform."""
    if own is None or own == target:
        return str(target)
    return f"{own}->{str(target).removeprefix(f'{own.os}/')}"


def _triggers(texts: list[str] | None, name: str) -> list[Instruction]:
    from ...grammars.dockerfile.parse import parse_trigger

    return [parse_trigger(text, f"ONBUILD of {name}") for text in texts or ()]
