"""Which stages of a Dockerfile a build needs, and from what each begins. Pure: no image is looked at.

    Dockerfile + arguments + target ──plan──▶ Plan ──(fold.py, stage by stage)──▶ steps

Sources: Dockerfile reference, "ARG" (scope, predefined arguments), "FROM", "COPY --from"; BuildKit's
dockerfile2llb for the order of expansion. ARGs before the first FROM are seen by FROM lines, and inside
a stage only once it declares them again.
"""

from __future__ import annotations

from ...grammars.dockerfile.expand import expand
from ...grammars.dockerfile.instructions import (
    ArgInstruction,
    CopyInstruction,
    FromInstruction,
    RunInstruction,
)
from ...grammars.dockerfile.namedcontext import find_context, image_of
from ...grammars.dockerfile.tokens import did_you_mean
from ...words.errors import InvalidName, NotFound
from ...words.oci import Platform
from ...words.value import Value
from ..model.proxies import PROXIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ...grammars.dockerfile.instructions import Dockerfile, Instruction, Stage

SCRATCH = "scratch"
HOSTNAME, CACHES = "BUILDKIT_SANDBOX_HOSTNAME", "BUILDKIT_CACHE_MOUNT_NS"
"""Arguments that name the container of RUN, and a space of its own for ids of cache mounts."""
INLINE = "BUILDKIT_INLINE_CACHE"
"""The argument that asks for a cache in the image."""
EPOCH = "SOURCE_DATE_EPOCH"
KEEP_GIT = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
"""The argument that leaves `.git` in a context that is a repository."""
_ALWAYS_USED = (
    EPOCH, "BUILDKIT_SYNTAX", "BUILDKIT_DOCKERFILE_CHECK", HOSTNAME, CACHES, INLINE, KEEP_GIT,
)  # fmt: skip


class Base(Value):
    """What a stage begins from, or --from means.

    It is another stage by index, the files of the named context `context`, or the image `name` (`scratch`:
    nothing).
    """

    name: str
    stage: int | None = None
    context: str = ""

    @property
    def is_scratch(self) -> bool:
        """Whether it is empty."""
        return self.stage is None and not self.context and self.name == SCRATCH


class StagePlan(Value):
    """One stage of the build. `platform` is None where FROM does not say."""

    stage: Stage
    base: Base
    platform: Platform | None = None
    needs: tuple[int, ...] = ()

    @property
    def index(self) -> int:
        """Its number in the file, from 0."""
        return self.stage.index

    @property
    def is_files(self) -> bool:
        """Whether files of a context have replaced it: then it is not made to be copied from."""
        return bool(self.base.context) and self.base.context == self.stage.name

    @property
    def title(self) -> str:
        """Its name, or `stage-2`."""
        return self.stage.name or f"stage-{self.index}"

    @property
    def length(self) -> int:
        """How many steps it shows: the base image, and instructions that may change files."""
        base = self.base.stage is None and not self.base.is_scratch
        names = ("RUN", "COPY", "ADD", "WORKDIR")
        return base + sum(instruction.name in names for instruction in self.stage.instructions)


class Plan(Value):
    """All stages of a file, those that `target` needs in file order, and the arguments.

    `arguments` are those given by the caller, `globals` what FROM lines and redeclaring ARGs see,
    `contexts` the values of named contexts.
    """

    file: Dockerfile
    stages: tuple[StagePlan, ...]
    needed: tuple[int, ...]
    target: int
    platform: Platform
    arguments: Mapping[str, str]
    globals: Mapping[str, str]
    contexts: Mapping[str, str]

    def unused(self) -> list[str]:
        """Arguments given that no ARG of the file declares, sorted."""
        declared = {str(name) for arg in self._args() for name, _ in arg.declared}
        known = {*declared, *_ALWAYS_USED, *_predefined(self.platform, self.platform, "")}
        return sorted(name for name in self.arguments if name not in known and name.lower() not in PROXIES)

    def _args(self) -> Iterator[ArgInstruction]:
        yield from self.file.global_args
        for planned in self.stages:
            yield from (item for item in planned.stage.instructions if isinstance(item, ArgInstruction))

    def source(self, item: Instruction, text: str, stage: int) -> Base:
        """What `--from=text` of an instruction in stage number `stage` means. Raises DockerfileError."""
        return _source(item, text, self.stages[:stage], self)


def plan(
    file: Dockerfile, arguments: Mapping[str, str], *,
    target: str = "", platform: Platform | None = None, build_platform: Platform | None = None,
    contexts: Mapping[str, str] | None = None,
) -> Plan:  # fmt: skip
    """Decide what to build: by default the last stage, for this machine's platform.

    `contexts` take the place of stages and images of the same name. Raises DockerfileError, NotFound for a
    target that the file does not have.
    """
    build_platform = build_platform or Platform.host()
    platform = platform or build_platform
    end = _target(file, target)
    scope = _predefined(build_platform, platform, file.stages[end].name or "default")
    scope |= {name: arguments[name] for name in scope if name in arguments}
    scope = _globals(file, arguments, scope)
    unplanned = Plan(file, (), (), end, platform, dict(arguments), scope, dict(contexts or {}))
    stages: list[StagePlan] = []
    for stage in file.stages:
        stages.append(_stage(unplanned, stage, stages))
    return unplanned.replace(stages=tuple(stages), needed=_needed(stages, end))


def defaults(planned: Plan) -> dict[str, str]:
    """What FROM lines would see if the caller gave no arguments."""
    stage = planned.file.stages[planned.target].name or "default"
    return _globals(planned.file, {}, _predefined(Platform.host(), planned.platform, stage))


def _predefined(build: Platform, target: Platform, stage: str) -> dict[str, str]:
    return {
        "BUILDPLATFORM": str(build), "BUILDOS": build.os, "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture, "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": str(target), "TARGETOS": target.os, "TARGETOSVERSION": target.os_version,
        "TARGETARCH": target.architecture, "TARGETVARIANT": target.variant, "TARGETSTAGE": stage,
    }  # fmt: skip


def _globals(file: Dockerfile, arguments: Mapping[str, str], scope: dict[str, str]) -> dict[str, str]:
    for arg in file.global_args:
        for name, default in arg.declared:
            if name in arguments:
                scope[str(name)] = arguments[name]
            elif default is not None:
                scope[str(name)] = expand(default, scope, escape=file.escape, file=file.file)
    return scope


def _target(file: Dockerfile, target: str) -> int:
    if not target:
        return len(file.stages) - 1
    wanted = target.lower()
    names = [stage.name for stage in file.stages]
    if wanted in names:
        return len(names) - 1 - names[::-1].index(wanted)
    if target.isascii() and target.isdigit() and int(target) < len(names):
        return int(target)
    hint = did_you_mean(target, [name for name in names if name])
    raise NotFound(f"target stage {target!r} could not be found in {file.file}", hint=hint)


def _stage(unplanned: Plan, stage: Stage, before: list[StagePlan]) -> StagePlan:
    if stage.name and (replaced := _named(stage.name, unplanned.contexts)):
        platform = _platform(unplanned.file, stage.base, unplanned.globals)
        return StagePlan(stage.replace(instructions=()), replaced, platform)
    base, scope, file = stage.base, unplanned.globals, unplanned.file
    name = expand(base.base, scope, escape=file.escape, file=file.file)
    if not name:
        raise base.error(
            f"base name ({base.base}) should not be blank", base.base,
            hint="an ARG used in FROM must precede the first FROM and have a value",
        )  # fmt: skip
    earlier = next((other.index for other in reversed(before) if other.stage.name == name), None)
    begins = Base(name, earlier) if earlier is not None else _base(name, unplanned.contexts)
    planned = StagePlan(stage, begins, _platform(file, base, scope))
    needs = [index for item in stage.instructions for index in _needs(item, before, unplanned)]
    needs += [earlier] if earlier is not None else []
    return planned.replace(needs=tuple(sorted(set(needs))))


def _base(name: str, contexts: Mapping[str, str]) -> Base:
    """What a name means that is no stage's."""
    return (_named(name, contexts) if name != SCRATCH else None) or Base(name)


def _named(name: str, contexts: Mapping[str, str]) -> Base | None:
    """The named context that takes the place of what has this name."""
    key = find_context(name, contexts)
    if not key:
        return None
    image = image_of(contexts[key])
    return Base(name, context=key) if image is None else Base(image)


def _platform(file: Dockerfile, base: FromInstruction, scope: Mapping[str, str]) -> Platform | None:
    if not base.platform:
        return None
    text = expand(base.platform, scope, escape=file.escape, file=file.file)
    try:
        return Platform.parse(text)
    except InvalidName as error:
        raise base.error(error.message, base.platform) from None


def _needs(item: Instruction, before: list[StagePlan], unplanned: Plan) -> list[int]:
    if isinstance(item, CopyInstruction) and item.source_stage:
        source = _source(item, item.source_stage, before, unplanned)
        return [source.stage] if source.stage is not None else []
    if isinstance(item, RunInstruction):
        wanted = {
            field[5:].lower() for mount in item.mounts for field in mount.split(",") if field[:5] == "from="
        }
        stages = [one for one in before if not one.is_files]
        return [one.index for one in stages if not wanted.isdisjoint({one.stage.name, str(one.index)} - {""})]
    return []


def _source(
    item: Instruction, text: str, before: list[StagePlan] | tuple[StagePlan, ...], whole: Plan
) -> Base:
    if "$" in text:
        raise item.error(
            "--from does not take variables", text,
            hint="define a stage for it: FROM $IMAGE AS name, then --from=name",
        )  # fmt: skip
    if text.isascii() and text.isdigit():
        if int(text[:9]) >= len(before):
            raise item.error(f"--from={text}: there is no earlier stage {text}", text)
        return _files_of(before[int(text)], text)
    name = text.lower()
    earlier = next((other for other in reversed(before) if other.stage.name == name), None)
    if earlier is not None:
        return _files_of(earlier, text)
    if any(stage.name == name for stage in whole.file.stages):
        raise item.error(f"cannot copy from stage {text!r}: it must be defined before this one", text)
    return _base(text, whole.contexts)


def _files_of(stage: StagePlan, text: str) -> Base:
    return stage.base if stage.is_files else Base(text, stage.index)


def _needed(stages: list[StagePlan], target: int) -> tuple[int, ...]:
    found, waiting = set(), [target]
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += stages[index].needs
    return tuple(sorted(found))


def source_date_epoch(planned: Plan) -> str | None:
    """SOURCE_DATE_EPOCH of the arguments or of a global ARG, as it is written; None where there is none."""
    return planned.arguments.get(EPOCH, planned.globals.get(EPOCH))


def keeping_times(planned: Plan) -> frozenset[int]:
    """Stages with a RUN that has a cache mount, and those that stand on them or beneath them.

    Programs compare the times of files with those in the cache, so that no other times may be given to them.
    """
    groups = {stage.index: {stage.index} for stage in planned.stages}
    for stage in planned.stages:
        if stage.base.stage is not None:
            joined = groups[stage.index] | groups[stage.base.stage]
            groups.update(dict.fromkeys(joined, joined))
    caches = {stage.index for stage in planned.stages if any(map(_has_cache, stage.stage.instructions))}
    return frozenset(index for index, group in groups.items() if group & caches)


def _has_cache(item: Instruction) -> bool:
    return isinstance(item, RunInstruction) and any("type=cache" in mount for mount in item.mounts)
