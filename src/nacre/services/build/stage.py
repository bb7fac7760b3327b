"""One stage of a build: from its base through its steps."""

from __future__ import annotations

from ...grammars.dockerfile.instructions import CopyInstruction
from ...grammars.dockerfile.mounts import is_bound
from ...images.dockerfile.fold import CopyAction, RunAction, Step, continued, is_url, start
from ...words.errors import NacreError, NotFound, RegistryError
from ...words.light import suppress
from .difference import Reason
from .executor import StepExecutor, StepOrder
from .history import StepPlace
from .missing import MissingFiles
from .origins import StageOrigins
from .stagecache import StageCache
from .stageprogress import WritingLayer, from_image, shown
from .waiting import Waiting, there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ...grammars.dockerfile.instructions import Instruction
    from ...images.dockerfile.fold import StageState
    from ...images.dockerfile.plan import Base, StagePlan
    from ...images.model.image import Image
    from ...words.oci import Platform
    from .report import StepReport
    from .session import BuildSession
    from .stageprogress import StageProgress, StepLayer
    from .waiting import Answer, Name, StageSteps

_NUMBERED = ("RUN", "COPY", "ADD", "WORKDIR")


class StageBuild:
    """Builds one stage of a session."""

    def __init__(self, session: BuildSession, planned: StagePlan) -> None:
        self._session, self._planned = session, planned
        self._cache, self._origins = StageCache(session, planned), StageOrigins(session, planned)
        self._executor = StepExecutor(session, planned, self._cache, self._origins)
        self.chosen = self._executor.chosen
        self._number, self._length, self._kind = 0, planned.length, ""
        self._left: tuple[StageState, Sequence[Instruction]]
        self._platform: Platform
        self._is_new = False
        self._beside: set[Name] = set()
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
        key = self._executor.run_key(standing, action, [""] * len(action.mounts))
        return self._cache.is_disabled or self._session.cache.is_new(key)

    def _made(self, standing: StageProgress, step: Step) -> Generator[Waiting, Answer, StepLayer]:
        """What a step makes, here or beside this stage."""
        title = self._title(shown(step)) if step.instruction.name in _NUMBERED else step.created_by
        name = self._name(self._number)
        if name in self._beside:
            return (yield from there(lambda: self._session.side(name)))
        return (yield from self._executor.do(standing, step, title, self._order(standing, self._number)))

    def _order(self, standing: StageProgress, number: int) -> StepOrder:
        above = next((made for _, _, made in self._above if isinstance(made, WritingLayer)), None)
        return StepOrder(self._kind, number, above, lambda: self._is_followed(standing))

    def _name(self, number: int) -> Name:
        """What others call a step of this stage."""
        return ("side", self._planned.index, self._kind, number, *self._session.place)

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
            title, order = self._titled(number, shown(step)), self._order(nothing, number)
            return [(name, self._executor.do(nothing, step, title, order))]
        if all(map(is_url, action.sources)):
            urls, fetch = zip(action.sources, item.sources, strict=True), self._executor.download
            return [((*name, url), there(fetch(item, action, url, token))) for url, token in urls]
        if not action.origin or (base := self._origins.meant(item, action.origin)).stage is not None:
            return []
        if base.context:
            return [(name, there(lambda: self._origins.named(item, base)))]
        return [(name, self._pulled(item, action.origin))]

    def _pulled(self, item: Instruction, name: str) -> Generator[Waiting, Answer, None]:
        """The image of a --from that comes later."""
        report = self._session.report.step(f"FROM {name}")
        try:
            yield from there(lambda: self._origins.origin(item, name, self._platform, report), report)
        except NacreError as error:
            report.failed(error.message)
            raise
        if report.has_begun:
            report.done()

    def _base(self) -> Generator[Waiting, Answer, tuple[StageProgress, list[Instruction]]]:
        """Where the stage begins, and the ONBUILD triggers of what it begins from."""
        session, base = self._session, self._planned.base
        platform = self._planned.platform or session.options.platform
        if (number := base.stage) is not None:
            before = yield from there(lambda: session.stage(number))
            self._cache.beneath = lambda: Reason(f"stage {base.name} changed")
            triggers = _triggers(before.state.run.get("OnBuild"), base.name)
            return before.followed(continued(before.state)), triggers
        if base.is_scratch:
            return session.nothing(platform), []
        if base.context:
            return (yield from self._from_files(base, platform)), []
        image, report = yield from self._image_of(base, platform)
        if not session.checks.are_errors:
            session.warn(session.checks.misfit(self._planned, image, platform or session.plan.platform))
        report.done()
        place = StepPlace(self._planned.title, self._planned.stage.base.line.line, f"FROM {base.name}")
        self._cache.beneath = session.misses.base(place, image.descriptor.digest)
        session.misses.forecast(report.title, "here")
        standing = from_image(image, start(image.config), session.epoch_ns)
        return standing, _triggers(image.config.run.get("OnBuild"), base.name)

    def _image_of(
        self, base: Base, platform: Platform | None
    ) -> Generator[Waiting, Answer, tuple[Image, StepReport]]:
        """The image that the stage begins from, and its step. Raises what says why it cannot be had."""
        session = self._session
        report = session.report.step(self._title(f"FROM {base.name}"))
        try:
            item = self._planned.stage.base
            image = yield from there(lambda: session.image(base.name, platform, item, report), report)
        except MissingFiles as error:
            session.misses.forecast(report.title, "pull", str(error))
            raise
        except NacreError as error:
            report.failed(error.message)
            if isinstance(error, NotFound | RegistryError):
                raise self._absent(base, platform, error) from None
            raise
        return image, report

    def _absent(self, base: Base, platform: Platform | None, error: NacreError) -> NacreError:
        item = self._planned.stage.base
        if self._planned.index and not platform:
            return self._origins.neither(item, "FROM", base.name, error)
        return self._origins.absent(item, base.name, error, platform)

    def _from_files(self, base: Base, platform: Platform | None) -> StageSteps:
        """All files of a context as the one layer of the stage."""
        nothing, text = self._session.nothing(platform), f"FROM {base.name}"
        step = Step(self._planned.stage.base, text, CopyAction(("/",), (), "/", base.name))
        title, order = self._title(text), self._order(nothing, self._number)
        made = yield from self._executor.do(nothing, step, title, order)
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


def _shown_platform(own: Platform | None, target: Platform) -> str:
    """As BuildKit: `linux/arm64`, or `linux/amd64->arm64` for a stage that works for another platform."""
    if own is None or own == target:
        return str(target)
    return f"{own}->{str(target).removeprefix(f'{own.os}/')}"


def _triggers(texts: list[str] | None, name: str) -> list[Instruction]:
    from ...grammars.dockerfile.parse import parse_trigger

    return [parse_trigger(text, f"ONBUILD of {name}") for text in texts or ()]
