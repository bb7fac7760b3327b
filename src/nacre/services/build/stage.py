"""One stage of a build: from its base through its steps."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ...grammars.dockerfile.glob import has_wildcard
from ...grammars.dockerfile.instructions import CopyInstruction
from ...grammars.dockerfile.tokens import did_you_mean
from ...images.dockerfile.fold import CopyAction, RunAction, WorkdirAction, continued, is_url, start
from ...images.dockerfile.plan import CACHES, HOSTNAME
from ...words.errors import Conflict, ContentError, NacreError, NotFound, RegistryError, UsageError
from .content import content_of
from .context import BuildContext
from .items import raw
from .keys import CopyKey, DownloadKey, RunKey, StageCopyKey, WorkdirKey, layers_id
from .select import select
from .stageprogress import StageProgress, StepLayer, from_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...grammars.dockerfile.instructions import Instruction
    from ...grammars.dockerfile.mounts import RunMount
    from ...images.dockerfile.fold import Step
    from ...images.dockerfile.plan import StagePlan
    from ...words.digest import Digest
    from .builder import BuildSession
    from .copy import LayerCopier
    from .items import CopySource
    from .keys import Key
    from .report import StepReport
    from .select import Selection

    MountedFiles = tuple[RunMount, CopySource | None, Selection | None]

_NUMBERED = ("RUN", "COPY", "ADD", "WORKDIR")
_MARKS = frozenset("/:@")
"""What the name of an image may have and that of a stage may not."""


class StageBuild:
    """Builds one stage of a session."""

    def __init__(self, session: BuildSession, planned: StagePlan) -> None:
        self._session, self._planned = session, planned
        self._number, self._length, self._kind = 0, planned.length, ""

    def build(self) -> StageProgress:
        """Do everything; the stage as it stands at its end."""
        standing, triggers = self._base()
        session = self._session
        session.warn(session.checks.of_stage(self._planned, standing.state))
        if triggers:
            standing = self._inherited(standing, triggers)
        return self._steps(standing, self._planned.stage.instructions)

    def _inherited(self, standing: StageProgress, triggers: list[Instruction]) -> StageProgress:
        """The ONBUILD triggers done; they are counted by themselves: the file does not show them."""
        kept = self._number, self._length, self._kind
        self._number, self._length = 0, sum(item.name in _NUMBERED for item in triggers)
        self._kind = "onbuild "
        standing = self._steps(standing, triggers)
        self._number, self._length, self._kind = kept
        return standing

    def _steps(self, standing: StageProgress, instructions: Sequence[Instruction]) -> StageProgress:
        for item in instructions:
            state, step = self._session.fold.advance(standing.state, item)
            standing = standing.after(state, step, self._do(standing, step) if step.action else None)
        return standing

    def _base(self) -> tuple[StageProgress, list[Instruction]]:
        """Where the stage begins, and the ONBUILD triggers of what it begins from."""
        session, base = self._session, self._planned.base
        platform = self._planned.platform or session.options.platform
        if base.stage is not None:
            before = session.stage(base.stage)
            triggers = _triggers(before.state.run.get("OnBuild"), base.name)
            return before.replace(state=continued(before.state)), triggers
        if base.is_scratch:
            time_ns = session.epoch_ns or 0
            return StageProgress(start(None), platform or session.plan.platform, time_ns=time_ns), []
        report = session.report.step(self._title(f"FROM {base.name}"))
        try:
            image = session.image(base.name, platform, self._planned.stage.base)
        except NacreError as error:
            report.failed(error.message)
            if isinstance(error, NotFound | RegistryError) and self._planned.index:
                raise self._neither(self._planned.stage.base, "FROM", base.name, error) from None
            raise
        if not session.checks.are_errors:
            session.warn(session.checks.misfit(self._planned, image, platform or session.plan.platform))
        report.done()
        standing = from_image(image, start(image.config), session.epoch_ns)
        return standing, _triggers(image.config.run.get("OnBuild"), base.name)

    def _title(self, text: str) -> str:
        self._number += 1
        name = f"{self._planned.title} " if len(self._session.plan.stages) > 1 else ""
        return f"[{name}{self._kind}{self._number:>{len(str(self._length))}}/{self._length}] {text}"

    def _do(self, standing: StageProgress, step: Step) -> StepLayer:
        """What a step makes, from the cache or anew. Errors without a place get that of the step."""
        title = self._title(_shown(step)) if step.instruction.name in _NUMBERED else step.created_by
        report = self._session.report.step(title)
        try:
            return self._dispatch(standing, step, report)
        except (UsageError, Conflict) as error:
            report.failed(error.message)
            raise step.instruction.error(error.message, hint=error.hint) from None
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
        raise TypeError(action)

    def _common(self, standing: StageProgress) -> tuple[str, str, int | None]:
        return layers_id(standing.diff_ids), str(standing.platform), self._session.clamp

    def _kept(self, key: Key, report: StepReport) -> StepLayer | None:
        made = self._session.cache.find(key)
        if made is not None:
            report.cached()
        elif why := self._session.cache.why(key):
            report.line(f"not cached: {why}")
        return made

    def _keep(self, key: Key, made: StepLayer, report: StepReport) -> StepLayer:
        self._session.cache.keep(key, made)
        report.done()
        return made

    def _run(
        self, standing: StageProgress, item: Instruction, action: RunAction, report: StepReport
    ) -> StepLayer:
        session = self._session
        mounts = self._mounts(action, item) if action.mounts else []
        network = action.network or session.options.network
        contents = [content_of(source, [chosen]) if source and chosen else "" for _, source, chosen in mounts]
        labels = tuple(f"{text} {digest}" for text, digest in zip(action.mounts, contents, strict=True))
        labels += (f"/dev/shm {session.options.shm_size}",) if session.options.shm_size else ()
        hostname = session.plan.arguments.get(HOSTNAME, "")
        labels += (f"hostname {hostname}",) if hostname else ()
        key = RunKey(
            *self._common(standing), action.argv, action.env, action.user, action.workdir, network, labels,
            action.scripts, session.options.hosts,
        )  # fmt: skip
        if (made := self._kept(key, report)) is not None:
            return made
        from .run import RunJob, permit, run_job

        warning = permit(session.store, item)
        if warning and not session.warned:
            report.line(warning)
            session.warned = True
        job = RunJob(
            action, item, standing.diff_ids, standing.platform, network, tuple(mounts), session.proxies,
            session.clamp, session.options.hosts, session.options.secrets,
            session.options.shm_size, session.options.limits, session.options.ulimits, hostname,
        )  # fmt: skip
        scratch = f"{session.scratch}/run-{self._planned.index}-{self._kind.strip()}{self._number}"
        layer = run_job(session.store, job, scratch, session.caches, report)
        return self._keep(key, StepLayer(layer), report)

    def _mounts(self, action: RunAction, item: Instruction) -> list[MountedFiles]:
        from ...grammars.dockerfile.mounts import parse_mount
        from .mounts import check, in_namespace

        found: list[MountedFiles] = []
        for text in action.mounts:
            mount = parse_mount(text, item)
            check(mount, item, dict(self._session.options.secrets))
            mount = in_namespace(mount, self._session.plan.arguments.get(CACHES, ""), action.workdir)
            source = self._source(item, mount.source_stage, None) if mount.kind == "bind" else None
            chosen = select(source, mount.source) if source else []
            if source and not chosen:
                raise item.error(f"--mount: {mount.source!r} not found in {source.name}")
            found.append((mount, source, chosen[0] if chosen else None))
        return found

    def _origin(
        self, item: Instruction, text: str, standing: StageProgress | None
    ) -> tuple[tuple[Digest, ...], str]:
        """The layers that `--from=text` means, and how to call them."""
        session = self._session
        base = session.plan.source(item, text, self._planned.index)
        if base.stage is not None:
            return session.stage(base.stage).diff_ids, f"stage {text}"
        platform = standing.platform if standing else session.options.platform
        try:
            return session.image(base.name, platform, item).diff_ids, f"image {base.name}"
        except (NotFound, RegistryError) as error:
            raise self._neither(item, f"--from={text}", text, error) from None

    def _neither(self, item: Instruction, said: str, name: str, error: NacreError) -> NacreError:
        """A name that is no stage means an image, as in docker; a mistyped stage must not read as that."""
        if not _MARKS.isdisjoint(name):
            return error
        before = [planned.stage.name for planned in self._session.plan.stages[: self._planned.index]]
        hint = did_you_mean(name, [stage for stage in before if stage], prefix="the stage ")
        message = f"{said}: {name!r} is neither an earlier stage nor an available image: {error.message}"
        return item.error(message, hint=hint or error.hint)

    def _source(self, item: Instruction, text: str, standing: StageProgress | None) -> CopySource:
        if not text:
            return self._session.context
        from .layers import Layers

        return self._session.opened(Layers(self._session.store, *self._origin(item, text, standing)))

    def _copy(
        self, standing: StageProgress, item: CopyInstruction, action: CopyAction, report: StepReport
    ) -> StepLayer:
        if not action.origin:
            return self._copy_from(self._session.context, standing, item, action, report)
        diff_ids, _ = self._origin(item, action.origin, standing)
        words = (*action.sources, f"parents={action.parents}", *action.excludes)
        key = StageCopyKey(
            *self._common(standing), layers_id(diff_ids), action.destination, action.chown, action.mode,
            action.unpack, action.link, words, action.contents,
        )  # fmt: skip
        if (made := self._kept(key, report)) is not None:
            return made
        source = self._source(item, action.origin, standing)
        made = self._copy_from(source, standing, item, action, report)
        self._session.cache.alias(key, made)
        return made

    def _copy_from(
        self,
        source: CopySource,
        standing: StageProgress,
        item: CopyInstruction,
        action: CopyAction,
        report: StepReport,
    ) -> StepLayer:
        chosen = self._select(source, standing, item, action, report)
        if any(map(is_url, action.sources)):
            source = self._session.downloads.beside(source)
        key = self._copy_key(source, standing, action, chosen)
        if (made := self._kept(key, report)) is not None:
            return made
        session = self._session
        newest = self._clamped(max([one.newest for one in chosen], default=0))
        if action.contents:
            newest = max(newest, standing.time_ns) or session.undated_ns
        anywhere = key.replace(parent="")
        known = session.cache.knows(anywhere)
        copier = self._copier(standing, max(newest, standing.time_ns), known)
        made = self._keep(key, StepLayer(copier.copy(action, source, chosen), newest), report)
        session.cache.alias(anywhere, made)
        return made

    def _copy_key(
        self, source: CopySource, standing: StageProgress, action: CopyAction, chosen: list[Selection]
    ) -> CopyKey:
        hashes = source.hashes if isinstance(source, BuildContext) else None
        content = content_of(source, chosen, hashes)
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
        for word, token in zip(action.sources, item.sources, strict=True):
            if is_url(word):
                undated = standing.time_ns  # the newest input so far, or the epoch asked for
                with _placed(item, token):
                    chosen.append(self._session.downloads.select(word, action.checksum, undated, report))
                continue
            found = select(source, word, action.excludes, action.parents)
            if not found and not has_wildcard(word):
                raise item.error(f"{word!r} not found in {source.name}", token, hint=_hint(source, word))
            if not found:
                report.line(f"WARNING: {word!r} matches nothing in {source.name}")
            chosen += found
        return chosen

    def _workdir(self, standing: StageProgress, action: WorkdirAction, report: StepReport) -> StepLayer:
        key = WorkdirKey(*self._common(standing), action.path, action.user)
        if (made := self._kept(key, report)) is not None:
            return made
        time_ns = standing.time_ns or self._session.undated_ns
        return self._keep(key, StepLayer(self._copier(standing, time_ns).folder(action), time_ns), report)


@contextmanager
def _placed(item: Instruction, token: str) -> Iterator[None]:
    """What cannot be fetched is a fault of the file at that place."""
    try:
        yield
    except (NotFound, RegistryError, ContentError, UsageError) as error:
        raise item.error(error.message, token, hint=error.hint) from None


def _triggers(texts: list[str] | None, name: str) -> list[Instruction]:
    from ...grammars.dockerfile.parse import parse_trigger

    return [parse_trigger(text, f"ONBUILD of {name}") for text in texts or ()]


def _shown(step: Step) -> str:
    """The instruction on one line."""
    words = " ".join(step.instruction.code.split())
    return words if len(words) <= 200 else words[:199] + "…"


def _hint(source: CopySource, word: str) -> str:
    """Why a source is not there, where that can be told."""
    if not isinstance(source, BuildContext):
        return ""
    if source.is_ignored(raw(os.path.normpath("/" + word).lstrip("/"))):
        return "it is there, but .dockerignore excludes it"
    return "a build cannot access files outside its context" if word.startswith("..") else ""
