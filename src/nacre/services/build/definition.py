"""The steps of a build as attestations tell of them: what each is, and what it is made from.

    sources        images, contexts, URLs and repositories, in the order in which they are used
    instructions   those that may change files, each after its inputs

Nothing that changes from one build to the next of the same is in it, nor the value of any secret.
"""

from __future__ import annotations

from ...grammars.dockerfile.mounts import parse_mount
from ...grammars.dockerfile.namedcontext import is_url, repository_of
from ...images.attestations.materials import CONTEXT, DefinedStep
from ...images.dockerfile.fold import CopyAction, RunAction
from ...words.errors import DockerfileError, InvalidName
from ...words.light import suppress
from ...words.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...images.dockerfile.fold import Step
    from ...images.dockerfile.plan import Base, StagePlan
    from ...words.digest import Digest
    from ...words.oci import Descriptor, Platform
    from .session import BuildSession
    from .stageprogress import StageProgress


def definition_of(session: BuildSession) -> tuple[DefinedStep, ...]:
    """The steps of all stages that a session has built."""
    maker = _Definition(session)
    for index in session.plan.needed:
        maker.add(session.plan.stages[index], session.stage(index))
    return tuple(maker.steps)


class _Definition:
    """Steps in their order, with names that count them."""

    def __init__(self, session: BuildSession) -> None:
        self._session, self.steps = session, list[DefinedStep]()
        self._sources: dict[str, str] = {}
        self._ends: dict[int, tuple[str, ...]] = {}
        self._digests = {name: image.digest for name, image in session.used_images()}

    def add(self, planned: StagePlan, standing: StageProgress) -> None:
        """The steps of a stage that is built."""
        base, begun = planned.base, 0
        if base.stage is not None:
            begun = len(self._session.stage(base.stage).steps)
            self._ends[planned.index] = self._ends[base.stage]
        else:
            beneath = tuple(layer for layer, _ in standing.layers[: standing.base[0]])
            self._ends[planned.index] = self._source_of(base, standing.platform, beneath)
        layers = {diff_id: layer for layer, diff_id in standing.layers}
        for step, diff_id in standing.steps[begun:]:
            if step.action:
                self._add_step(planned, standing.platform, step, layers.get(diff_id) if diff_id else None)

    def _add_step(self, planned: StagePlan, platform: Platform, step: Step, layer: Descriptor | None) -> None:
        inputs = [*self._ends[planned.index], *self._taken(planned, platform, step)]
        item = step.instruction
        is_own = item.line.file == self._session.plan.file.file
        name = self._name(
            DefinedStep(
                "", "", item.code, planned.title, str(platform), tuple(dict.fromkeys(inputs)),
                (item.line.line, item.line.end_line) if is_own else (0, 0), (layer,) if layer else (),
            )
        )  # fmt: skip
        self._ends[planned.index] = (name,)

    def _name(self, step: DefinedStep) -> str:
        name = f"step{len(self.steps)}"
        self.steps.append(step.replace(name=name))
        return name

    def _taken(self, planned: StagePlan, platform: Platform, step: Step) -> Iterator[str]:
        """The steps whose files an instruction takes."""
        action, item = step.action, step.instruction
        if isinstance(action, CopyAction):
            if action.origin:
                yield from self._meant(planned, platform, step, action.origin)
            else:
                yield from map(self._source, _words(action))
        elif isinstance(action, RunAction):
            for text in action.mounts:
                with suppress(DockerfileError):
                    mount = parse_mount(text, item)
                    if mount.source_stage:
                        yield from self._meant(planned, platform, step, mount.source_stage)
                    elif mount.kind == "bind":
                        yield self._source(CONTEXT)

    def _meant(self, planned: StagePlan, platform: Platform, step: Step, text: str) -> tuple[str, ...]:
        base = self._session.plan.source(step.instruction, text, planned.index)
        return self._ends[base.stage] if base.stage is not None else self._source_of(base, platform)

    def _source_of(
        self, base: Base, platform: Platform, layers: tuple[Descriptor, ...] = ()
    ) -> tuple[str, ...]:
        if base.is_scratch:
            return ()
        if base.context:
            return (self._source(self._context(base.context)),)
        return (self._source(_image(base.name, self._digests.get(base.name)), str(platform), layers),)

    def _context(self, name: str) -> str:
        value = self._session.plan.contexts[name]
        return value if is_url(value) or repository_of(value) else f"local://{name}"

    def _source(self, source: str, platform: str = "", layers: tuple[Descriptor, ...] = ()) -> str:
        """The name of its step."""
        key = f"{source} {platform}"
        if key not in self._sources:
            step = DefinedStep("", source, platform=platform, layers=layers)
            self._sources[key] = self._name(step)
        return self._sources[key]


def _words(action: CopyAction) -> Iterator[str]:
    """What the sources of an instruction are taken from."""
    repositories = action.repositories or (None,) * len(action.sources)
    for word, repository in zip(action.sources, repositories, strict=False):
        if repository is not None:
            yield repository.remote + (f"#{repository.ref}" if repository.ref else "")
        else:
            yield word if is_url(word) else CONTEXT


def _image(name: str, digest: Digest | None) -> str:
    """As BuildKit names a source; of a layout only the end of its path."""
    if name.startswith("host:"):
        return name
    if "oci-layout://" in name:
        return f"oci-layout://{name.rpartition('oci-layout://')[2].partition('@')[0].rpartition('/')[2]}@{digest}"
    try:
        reference = Reference.parse(name)
    except InvalidName:
        return name
    return f"docker-image://{reference}" + (f"@{digest}" if digest and not reference.digest else "")
