"""The build checks of the Dockerfile frontend: what is legal and yet probably wrong. Pure.

    of_file    names, cases, comments: every instruction is looked at
    of_from    the FROM lines, with the arguments of the build
    StageLint  the instructions of one stage, with the variables in sight

Sources: "Build checks" of Docker's documentation; BuildKit's dockerfile2llb for what it leaves open. The
sentences are BuildKit's, since tools look for them.
"""

from __future__ import annotations

import posixpath

from ...grammars.dockerfile import instructions as dockerfile
from ...grammars.dockerfile.checks import LintWarning
from ...grammars.dockerfile.expand import expand
from ...grammars.dockerfile.tokens import LogicalLine, nearest
from ...words.errors import DockerfileError, InvalidName
from ...words.oci import Platform
from ...words.reference import Reference
from .fold import Fold, StageState, is_remote
from .plan import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ...grammars.dockerfile.ignore import Ignore
    from ...grammars.dockerfile.instructions import Dockerfile, Instruction, Stage
    from .plan import Plan, StagePlan

_RESERVED = ("context", "scratch")
_SECRET = frozenset(
    ("apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token")
)
_HARMLESS = frozenset(("public", "file", "version"))
_EVERYTHING = frozenset(("*", "**", "**/*"))
_ONCE = (dockerfile.CmdInstruction, dockerfile.EntrypointInstruction, dockerfile.HealthcheckInstruction)
_NOT_EXPANDED = ("EXPOSE", "MAINTAINER")
"""Instructions whose undefined variables are not looked for, as in BuildKit."""


def warn(item: Instruction, rule: str, text: str) -> LintWarning:
    """A warning about an instruction."""
    return LintWarning(text, rule, item.line.line, item.line.end_line, item.line.comments)


class RecordingVariables(dict[str, str]):
    """Variables that note which were asked for and found (`hits`), and which not (`missed`)."""

    def __init__(self, env: Mapping[str, str]) -> None:
        super().__init__(env)
        self.hits: list[str] = []
        self.missed: list[str] = []

    def get(self, name: str, default: object = None, /) -> str | None:  # type: ignore[override]
        """The value, and a note."""
        (self.hits if name in self else self.missed).append(name)
        found: str | None = super().get(name, default)  # type: ignore[arg-type]
        return found


def of_file(file: Dockerfile) -> Iterator[LintWarning]:
    """What is wrong with names, cases and comments."""
    for arg in file.global_args:
        yield from _described(arg)
    for stage in file.stages:
        yield from _from_words(stage.base)
        yield from _described(stage.base)
        for item in stage.instructions:
            yield from _described(item)
            if isinstance(item, dockerfile.MaintainerInstruction):
                text = "Maintainer instruction is deprecated in favor of using label"
                yield warn(item, "MaintainerDeprecated", text)
    yield from _stage_names(file.stages)
    yield from _casing(file.stages)


def _from_words(item: dockerfile.FromInstruction) -> Iterator[LintWarning]:
    if not item.alias:
        return
    keyword, (*_, word, name) = _keyword(item), item.code.split()
    if name != name.lower():
        yield warn(item, "StageNameCasing", f"Stage name '{name}' should be lowercase")
    if keyword not in (keyword.lower(), keyword.upper()):
        return
    if word != (word.lower() if keyword == keyword.lower() else word.upper()):
        yield warn(item, "FromAsCasing", f"'{word}' and '{keyword}' keywords' casing do not match")


def _keyword(item: Instruction) -> str:
    """The name of the instruction as it was written."""
    return item.code.split(None, 1)[0]


def _described(item: Instruction) -> Iterator[LintWarning]:
    if isinstance(item, dockerfile.FromInstruction):
        names = [item.alias] if item.alias else []
    else:
        names = (
            [str(name) for name, _ in item.declared] if isinstance(item, dockerfile.ArgInstruction) else []
        )
    comments = item.line.comments
    if names and comments and comments[-1].split(" ")[0] not in names:
        example = names[0] if len(names) == 1 else "<arg_key>"
        text = f"Comment for {item.name} should follow the format: `# {example} <description>`"
        yield warn(item, "InvalidDefinitionDescription", text)


def _stage_names(stages: Sequence[Stage]) -> Iterator[LintWarning]:
    before: set[str] = set()
    for stage in stages:
        name = stage.name
        if name in _RESERVED:
            text = f'Stage name should not use the same name as reserved stage "{name}"'
            yield warn(stage.base, "ReservedStageName", text)
        if name and name in before:
            text = f'Duplicate stage name "{name}", stage names should be unique'
            yield warn(stage.base, "DuplicateStageName", text)
        before.add(name)


def _casing(stages: Sequence[Stage]) -> Iterator[LintWarning]:
    items = [item for stage in stages for item in (stage.base, *stage.instructions)]
    words = [_keyword(item) for item in items]
    lower = sum(word == word.lower() for word in words)
    upper = sum(word == word.upper() for word in words)
    wanted, called = (str.lower, "lowercase") if lower > upper else (str.upper, "uppercase")
    for item, word in zip(items, words, strict=True):
        if word != wanted(word):
            text = f"Command '{word}' should match the case of the command majority ({called})"
            yield warn(item, "ConsistentInstructionCasing", text)


def of_from(plan: Plan) -> Iterator[LintWarning]:
    """What is wrong with the FROM lines of a build with these arguments."""
    scope = defaults(plan)
    for planned in plan.stages:
        base = planned.stage.base
        yield from _undeclared(plan, base, base.base)
        if base.platform:
            yield from _undeclared(plan, base, base.platform)
            yield from _platform(plan, planned, base)
        if not _is_reference(expand(base.base, scope, escape=plan.file.escape, file=plan.file.file)):
            text = f"Default value for ARG {base.base} results in empty or invalid base image name"
            yield warn(base, "InvalidDefaultArgInFrom", text)


def _undeclared(plan: Plan, base: dockerfile.FromInstruction, word: str) -> Iterator[LintWarning]:
    seen = RecordingVariables(plan.globals)
    expand(word, seen, escape=plan.file.escape, file=plan.file.file)
    declared = {str(name) for arg in plan.file.global_args for name, _ in arg.declared}
    known = [*declared, *plan.globals]
    for name in dict.fromkeys(seen.missed):
        if name not in declared:
            text = f"FROM argument '{name}' is not declared{_meant(name, known)}"
            yield warn(base, "UndefinedArgInFrom", text)


def _meant(name: str, known: Sequence[str], mark: str = "") -> str:
    found = nearest(name, list(known))
    return f" (did you mean {mark}{found}?)" if found else ""


def _platform(plan: Plan, planned: StagePlan, base: dockerfile.FromInstruction) -> Iterator[LintWarning]:
    seen = RecordingVariables(plan.globals)
    text = expand(base.platform, seen, escape=plan.file.escape, file=plan.file.file)
    if set(seen.hits) == {"TARGETPLATFORM"} and not seen.missed and text == plan.globals["TARGETPLATFORM"]:
        said = (
            f"Setting platform to predefined {base.platform} in FROM is redundant as this is the default "
            "behavior"
        )
        yield warn(base, "RedundantTargetPlatform", said)
    if not seen.hits and not seen.missed:
        platform = Platform.parse(text)
        if not any(part in planned.stage.name for part in (platform.os, platform.architecture)):
            said = f'FROM --platform flag should not use constant value "{text}"'
            yield warn(base, "FromPlatformFlagConstDisallowed", said)


def _is_reference(name: str) -> bool:
    try:
        Reference.parse(name)
    except InvalidName:
        return False
    return True


class StageLint:
    """Walks the stages of a build, each after those that it begins from."""

    def __init__(self, plan: Plan, fold: Fold, ignore: Ignore) -> None:
        self._plan, self._fold, self._ignore = plan, fold, ignore
        self._placed: set[int] = set()

    def stage(
        self, planned: StagePlan, state: StageState, triggers: Sequence[Instruction] = (), *,
        known: bool = True,
    ) -> tuple[StageState, list[LintWarning]]:  # fmt: skip
        """The state at the end of a stage that begins with `state`, and what is wrong in it.

        The ONBUILD `triggers` of its base come first; what is wrong in them is wrong at the FROM. `known`
        says that the variables of its base are. Ends early where an instruction is wrong.
        """
        found: list[LintWarning] = []
        used: dict[type[Instruction], Instruction] = {}
        if planned.base.stage in self._placed:
            self._placed.add(planned.index)
        base = planned.stage.base
        for item in (*(_placed(trigger, base) for trigger in triggers), *planned.stage.instructions):
            try:
                state = self._instruction(
                    planned, state, item, found.append if known else _but_variables(found)
                )
            except DockerfileError:
                break
            if isinstance(item, _ONCE):
                if type(item) in used:
                    found.append(_overwritten(used[type(item)], item))
                used[type(item)] = item
        return state, found

    def _instruction(
        self, planned: StagePlan, state: StageState, item: Instruction, tell: Callable[[LintWarning], object]
    ) -> StageState:
        seen = RecordingVariables(state.env)
        after, _ = self._fold.advance(state.replace(env=seen), item)
        if item.name not in _NOT_EXPANDED:
            for name in dict.fromkeys(seen.missed):
                if name not in after.args:
                    text = f"Usage of undefined variable '${name}'{_meant(name, list(state.env), '$')}"
                    tell(warn(item, "UndefinedVar", text))
        rule = _RULES.get(str(item.name))
        for warning in rule(self, planned, state, item) if rule else ():
            tell(warning)
        return after.replace(env=dict(after.env))

    def text(self, state: StageState, word: str, item: Instruction) -> str:
        """A word with its variables replaced."""
        return self._fold.text(state, word, item)

    def words(self, state: StageState, word: str, item: Instruction) -> list[str]:
        """The words that a word becomes."""
        return self._fold.words(state, word, item)

    def places(self, planned: StagePlan) -> bool:
        """Note that a stage has a WORKDIR; whether it had one before, or a stage beneath."""
        before = planned.index in self._placed
        self._placed.add(planned.index)
        return before

    def ignores(self, source: str) -> bool:
        """Whether .dockerignore takes all of a source away, as far as one can tell without its files."""
        if self._ignore.has_exceptions:
            return False
        path = posixpath.normpath("/" + source).lstrip("/")
        if not path:
            return not _EVERYTHING.isdisjoint(self._ignore.patterns)
        return self._ignore.ignores(path)


def _placed(trigger: Instruction, base: Instruction) -> Instruction:
    """A trigger as if it stood at the FROM that brings it."""
    line = base.line
    return trigger.replace(line=LogicalLine(line.file, trigger.line.text, line.pieces, line.comments))


def _but_variables(found: list[LintWarning]) -> Callable[[LintWarning], object]:
    return lambda warning: None if warning.rule == "UndefinedVar" else found.append(warning)


def _overwritten(before: Instruction, item: Instruction) -> LintWarning:
    text = (
        f"Multiple {_keyword(item)} instructions should not be used in the same stage because only the last "
        "one will be used"
    )
    return warn(before, "MultipleInstructionsDisallowed", text)


def _workdir(
    lint: StageLint, planned: StagePlan, state: StageState, item: dockerfile.WorkdirInstruction
) -> Iterator[LintWarning]:
    path = lint.text(state, item.path, item)
    if not lint.places(planned) and not path.startswith("/"):
        text = f'Relative workdir "{path}" can have unexpected results if the base image changes'
        yield warn(item, "WorkdirRelativePath", text)


def _command(
    _lint: StageLint, _planned: StagePlan, state: StageState,
    item: dockerfile.CmdInstruction | dockerfile.EntrypointInstruction,
) -> Iterator[LintWarning]:  # fmt: skip
    if item.command.shell and not state.run.get("Shell"):
        text = (
            f"JSON arguments recommended for {_keyword(item)} to prevent unintended behavior related to OS "
            "signals"
        )
        yield warn(item, "JSONArgsRecommended", text)


def _pairs(
    _lint: StageLint, _planned: StagePlan, _state: StageState,
    item: dockerfile.EnvInstruction | dockerfile.LabelInstruction,
) -> Iterator[LintWarning]:  # fmt: skip
    name = _keyword(item)
    if item.legacy:
        text = f'"{name} key=value" should be used instead of legacy "{name} key value" format'
        yield warn(item, "LegacyKeyValueFormat", text)
    if isinstance(item, dockerfile.EnvInstruction):
        yield from _secrets(item, [str(key) for key, _ in item.pairs])


def _arg(
    _lint: StageLint, _planned: StagePlan, _state: StageState, item: dockerfile.ArgInstruction
) -> Iterator[LintWarning]:
    yield from _secrets(item, [str(name) for name, _ in item.declared])


def is_sensitive(name: str) -> bool:
    """Whether a variable of this name probably holds a secret."""
    words = set(name.lower().split("_"))
    return bool(words & _SECRET) and not words & _HARMLESS


def _secrets(item: Instruction, names: list[str]) -> Iterator[LintWarning]:
    for name in names:
        if is_sensitive(name):
            text = f'Do not use ARG or ENV instructions for sensitive data ({item.name} "{name}")'
            yield warn(item, "SecretsUsedInArgOrEnv", text)


def _copy(
    lint: StageLint, _planned: StagePlan, state: StageState, item: dockerfile.CopyInstruction
) -> Iterator[LintWarning]:
    for word in () if item.source_stage else item.sources:
        source = lint.text(state, word, item)
        if not is_remote(source) and lint.ignores(source):
            verb, shown = str(item.name).capitalize(), posixpath.normpath(source)
            text = f'Attempting to {verb} file "{shown}" that is excluded by .dockerignore'
            yield warn(item, "CopyIgnoredFile", text)


def _expose(
    lint: StageLint, _planned: StagePlan, state: StageState, item: dockerfile.ExposeInstruction
) -> Iterator[LintWarning]:
    for port in [port for word in item.ports for port in lint.words(state, word, item)]:
        before, _, protocol = port.partition("/")
        if protocol != protocol.lower():
            text = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
            yield warn(item, "ExposeProtoCasing", text)
        if ":" in before:
            text = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
            yield warn(item, "ExposeInvalidFormat", text)


_RULES: dict[str, Callable[..., Iterator[LintWarning]]] = {
    "ADD": _copy, "ARG": _arg, "CMD": _command, "COPY": _copy, "ENTRYPOINT": _command, "ENV": _pairs,
    "EXPOSE": _expose, "LABEL": _pairs, "WORKDIR": _workdir,
}  # fmt: skip
