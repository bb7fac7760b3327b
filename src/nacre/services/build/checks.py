"""Build checks within a build, and instead of one.

A build tells what is wrong in a stage when it begins with it, as then the variables of its base are known.
Where the file wants warnings to be errors, everything is checked before anything is done.
"""

from __future__ import annotations

from ...grammars.dockerfile.checks import ADVICE, ARGUMENT, RULES, Advice, LintWarning, parse_checks
from ...grammars.dockerfile.parse import other_frontend, parse, parse_trigger
from ...grammars.dockerfile.tokens import did_you_mean
from ...images.dockerfile.fold import Fold, continued, start
from ...images.dockerfile.lint import StageLint, of_file, of_from
from ...images.dockerfile.plan import plan
from ...images.model.platforms import fits
from ...words.errors import BuildFailed, DockerfileError, NacreError, NotFound, RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ...grammars.dockerfile.checks import Checks
    from ...grammars.dockerfile.instructions import Dockerfile, Instruction
    from ...images.dockerfile.fold import StageState
    from ...images.dockerfile.plan import Plan, StagePlan
    from ...images.model.image import Image
    from ...words.oci import Platform
    from .builder import BuildOptions
    from .inputs import Inputs

    FindImage = Callable[[StagePlan], Image]


class BuildChecks:
    """What the checks find in one build; a rule that is skipped finds nothing. Raises UsageError."""

    def __init__(self, planned: Plan, fold: Fold, inputs: Inputs) -> None:
        self._plan = planned
        self._checks = _wanted(planned.file, planned.arguments)
        self._stages = StageLint(planned, fold, inputs.ignore)
        self._done: set[int] = set()
        self._broken: dict[str, None] = {}

    @property
    def are_errors(self) -> bool:
        """Whether a warning fails the build."""
        return self._checks.error

    def of_file(self) -> list[LintWarning]:
        """What is wrong in the file apart from its stages."""
        file = self._plan.file
        asked = other_frontend(self._plan.arguments.get("BUILDKIT_SYNTAX", ""), "BUILDKIT_SYNTAX")
        return self._left(
            [*_unknown(self._checks), *file.warnings, *asked, *of_file(file), *of_from(self._plan)]
        )

    def of_stage(
        self, planned: StagePlan, state: StageState, triggers: Sequence[Instruction] = ()
    ) -> list[LintWarning]:
        """What is wrong in a stage that begins with `state` and `triggers`; nothing the second time."""
        if planned.index in self._done:
            return []
        self._done.add(planned.index)
        return self._left(self._stages.stage(planned, state, triggers)[1])

    def misfit(self, planned: StagePlan, image: Image, wanted: Platform) -> list[LintWarning]:
        """What is wrong with the platform of a base image."""
        if fits(image, wanted):
            return []
        text = (
            f'Base image {planned.base.name} was pulled with platform "{image.config.platform}", expected '
            f'"{wanted}" for current build'
        )
        line = planned.stage.base.line
        return self._left(
            [LintWarning(text, "InvalidBaseImagePlatform", line.line, line.end_line, line.comments)]
        )

    def of_stages(self, indexes: Sequence[int], find: FindImage) -> list[LintWarning]:
        """What is wrong in these stages, in file order. Of a base that is not found, nothing is known."""
        found: list[LintWarning] = []
        ends: dict[int, tuple[StageState, bool]] = {}
        for index in indexes:
            planned = self._plan.stages[index]
            state, known, more = self._beginning(planned, ends, find)
            triggers = _triggers(state)
            after, warnings = self._stages.stage(planned, continued(state), triggers, known=known)
            ends[index] = after, known
            self._done.add(index)
            found += [*more, *self._left(warnings)]
        return found

    def _beginning(
        self, planned: StagePlan, ends: dict[int, tuple[StageState, bool]], find: FindImage
    ) -> tuple[StageState, bool, list[LintWarning]]:
        """The state with which a stage begins, its triggers in it, and whether its variables are known."""
        base = planned.base
        if base.stage is not None:
            return *ends[base.stage], []
        if base.is_scratch or base.context:
            return start(None), True, []
        try:
            image = find(planned)
        except (NotFound, RegistryError):
            return start(None), False, []
        state = start(image.config).changed(OnBuild=image.config.run.get("OnBuild"))
        return state, True, self.misfit(planned, image, planned.platform or self._plan.platform)

    def _left(self, warnings: Sequence[LintWarning]) -> list[LintWarning]:
        left = self._checks.left(warnings)
        self._broken.update(dict.fromkeys(one.rule for one in left if one.rule))
        return left

    def shown(self, found: Iterable[Advice]) -> list[Advice]:
        """Advice that nobody has silenced, by line. It fails no build."""
        left = [one for one in self._checks.left(list(found)) if isinstance(one, Advice)]
        return sorted(left, key=lambda one: one.line)

    def failure(self) -> str:
        """Why the build fails for what was found so far, or ""."""
        if not self._checks.error or not self._broken:
            return ""
        return f"lint violation found for rules: {', '.join(sorted(self._broken))}"

    def fail(self) -> None:
        """Raise BuildFailed if what was found so far is an error."""
        if why := self.failure():
            raise BuildFailed(f"{self._plan.file.file}: {why}")


def _triggers(state: StageState) -> list[Instruction]:
    """The ONBUILD triggers of a base; none if one of them cannot be read, which ends the build."""
    try:
        return [parse_trigger(text, "ONBUILD") for text in state.run.get("OnBuild") or ()]
    except DockerfileError:
        return []


def _wanted(file: Dockerfile, arguments: Any) -> Checks:
    where = ARGUMENT if ARGUMENT in arguments else f"{file.file}: check"
    return parse_checks(arguments.get(ARGUMENT, dict(file.directives).get("check", "")), where)


def _unknown(checks: Checks) -> list[LintWarning]:
    found = []
    for name in checks.unknown:
        hint = did_you_mean(name, (*RULES, *ADVICE))
        found.append(LintWarning(f"check: there is no rule {name[:80]!r}{hint and f' ({hint})'}"))
    return found


def planned_build(inputs: Inputs, options: BuildOptions) -> tuple[Plan, Fold]:
    """What a build would do. Raises DockerfileError, NotFound."""
    file = parse(inputs.dockerfile, inputs.name)
    found = plan(
        file, dict(options.arguments), target=options.target, platform=options.platform,
        contexts=dict(options.contexts),
    )  # fmt: skip
    return found, Fold(found)


def check(
    inputs: Inputs, options: BuildOptions, find: Callable[[str, Platform | None], Image]
) -> dict[str, Any]:
    """The document of `frontend.lint`: what is wrong in the file, in all stages or in those of the target.

    A fault of the file is in the document as well. `find` gives a base image that is here.
    """
    from ...images.dockerfile.outline import lint

    warnings: list[LintWarning] = []
    advice: list[Advice] = []
    try:
        planned, fold = planned_build(inputs, options)
        checks = BuildChecks(planned, fold, inputs)
        warnings += checks.of_file()
        indexes = planned.needed if options.target else tuple(range(len(planned.stages)))
        warnings += checks.of_stages(
            indexes, lambda one: find(one.base.name, one.platform or options.platform)
        )
        fault, why = None, checks.failure()
        advice = _advice(planned, checks, inputs, indexes) if options.advice != "none" else []
    except NacreError as error:
        fault, why = error if isinstance(error, DockerfileError) else None, error.message
    warnings.sort(key=lambda one: one.line)
    return lint(warnings, inputs.name, inputs.dockerfile, fault, why, advice)


def _advice(planned: Plan, checks: BuildChecks, inputs: Inputs, indexes: Sequence[int]) -> list[Advice]:
    """What the text of these stages, and the files beside it, could do better."""
    from ...images.dockerfile.advice import of_text

    stages = [planned.stages[index] for index in indexes]
    try:
        with inputs.opened("") as context:
            return checks.shown(of_text(planned.file, stages, context.text_of))
    except NotFound:
        return checks.shown(of_text(planned.file, stages, lambda _name: None))


def call(
    method: str, inputs: Inputs, options: BuildOptions, find: Callable[[str, Platform | None], Image]
) -> dict[str, Any]:
    """The document of one of BuildKit's requests: check, outline or targets. Raises NacreError."""
    from ...images.dockerfile.outline import outline, targets

    if method == "check":
        return check(inputs, options, find)
    if method == "targets":
        return targets(parse(inputs.dockerfile, inputs.name), inputs.dockerfile)
    return outline(*planned_build(inputs, options), inputs.dockerfile)
