"""One step of a stage: a RUN, COPY, ADD or WORKDIR, from the cache or anew."""

from __future__ import annotations

from ...grammars.dockerfile.glob import has_wildcard
from ...grammars.dockerfile.instructions import CopyInstruction, FromInstruction
from ...images.dockerfile.fold import CopyAction, RunAction, WorkdirAction, is_remote, is_url
from ...images.dockerfile.plan import CACHES, HOSTNAME
from ...words.errors import CacheUnusable, Conflict, NacreError, UsageError
from ...words.value import Value
from .content import content_of
from .context import ContextFiles, missing_hint
from .entitlements import enforce
from .epoch import limit_times
from .fault import at_fault
from .items import beside
from .keys import CopyKey, DownloadKey, RunKey, StageCopyKey, WorkdirKey, layers_id
from .missing import MissingFiles
from .select import select
from .stageprogress import StepLayer
from .waiting import there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from ...grammars.dockerfile.gitsource import GitSource
    from ...grammars.dockerfile.instructions import Instruction
    from ...grammars.dockerfile.mounts import RunMount
    from ...grammars.dockerfile.tokens import Token
    from ...images.dockerfile.fold import Step
    from ...images.dockerfile.plan import StagePlan
    from ...stores.trees.actives import Active
    from ...words.digest import Digest
    from .copy import LayerCopier
    from .items import CopySource
    from .keys import Key
    from .origins import StageOrigins
    from .report import StepReport
    from .run import RunJob
    from .select import Selection
    from .session import BuildSession
    from .stagecache import StageCache
    from .stageprogress import StageProgress, WritingLayer
    from .waiting import Answer, Waiting

    MountedFiles = tuple[RunMount, CopySource | None, Selection | None]

_BRIEF = 8 << 20
"""Bytes that are copied in a moment."""


class StepOrder(Value):
    """A step among those of its stage: its number, counted by itself for each `kind`.

    `above` is the step before it while the layer of that is still being written; `is_followed()` says whether
    the next one may begin while the layer of this one is.
    """

    kind: str
    number: int
    above: WritingLayer | None
    is_followed: Callable[[], bool]


class StepExecutor:
    """Does the steps of one stage."""

    def __init__(
        self, session: BuildSession, planned: StagePlan, cache: StageCache, origins: StageOrigins
    ) -> None:
        self._session, self._planned = session, planned
        self._cache, self._origins = cache, origins
        self.chosen: dict[int, list[Selection]] = {}
        """What a COPY has taken of a context, by the identity of the instruction."""

    def do(
        self, standing: StageProgress, step: Step, title: str, order: StepOrder
    ) -> Generator[Waiting, Answer, StepLayer]:
        """What a step makes, from the cache or anew. Errors without a place get that of the step."""
        report = self._session.report.step(title)
        self._cache.place(report, step)
        try:
            return (yield from there(lambda: self._dispatch(standing, step, report, order), report))
        except MissingFiles as error:
            return self._cache.forecast(report, "maybe", str(error))
        except (UsageError, Conflict) as error:
            report.failed(error.message)
            raise step.instruction.error(error.message, hint=error.hint) from None
        except CacheUnusable:
            report.canceled()
            raise
        except NacreError as error:
            report.failed(error.message)
            raise

    def _dispatch(
        self, standing: StageProgress, step: Step, report: StepReport, order: StepOrder
    ) -> StepLayer:
        action = step.action
        if isinstance(action, RunAction):
            return self._run(standing, step, report, order)
        if isinstance(action, WorkdirAction):
            return self._workdir(standing, action, report)
        if isinstance(action, CopyAction) and isinstance(step.instruction, CopyInstruction):
            return self._copy(standing, step.instruction, action, report)
        if isinstance(action, CopyAction) and isinstance(step.instruction, FromInstruction):
            source = self._origins.named(step.instruction, self._planned.base)
            return self._copy_chosen(source, standing, action, select(source, "/"), report)
        raise TypeError(action)

    def _common(self, standing: StageProgress) -> tuple[str, str, int | None]:
        return layers_id(standing.diff_ids), str(standing.platform), self._session.clamp

    def _later(self, key: Key, work: Callable[[], StepLayer], *, is_brief: bool = False) -> StepLayer:
        """What `work` makes for a key that was not found, done now or in another process."""
        return self._session.later(("step", key.digest), work, is_brief=is_brief)

    def _run(self, standing: StageProgress, step: Step, report: StepReport, order: StepOrder) -> StepLayer:
        action = step.action
        assert isinstance(action, RunAction)
        enforce(action, step.instruction, self._session.options)
        mounts = self._mounts(action, step.instruction, report) if action.mounts else []
        key = self.run_key(standing, action, self._contents(mounts))
        if order.above is not None:
            self._cache.missed(standing, key, report)
        elif (made := self._cache.kept(standing, key, report)) is not None:
            return made
        self._session.bring(standing.diff_ids, report)
        self._permit(step.instruction, report)
        job = self._job(standing, step, mounts, order, report)
        self._session.cache_mounts |= job.cache_names

        def work() -> StepLayer:
            return self._ran(job, key, order, report)

        if order.above is not None:
            return self._session.later(
                ("step", self._planned.index, order.kind, order.number, *self._session.place), work
            )
        return self._later(key, work)

    def _contents(self, mounts: Sequence[MountedFiles]) -> list[str]:
        keep = self._session.misses.keep_list
        return [
            content_of(source, [chosen], keep) if source and chosen else "" for _, source, chosen in mounts
        ]

    def _permit(self, item: Instruction, report: StepReport) -> None:
        from .run import permit

        warning = permit(self._session.store, item)
        if warning and not self._session.warned:
            report.line(warning)
            self._session.warned = True

    def _job(
        self, standing: StageProgress, step: Step, mounts: list[MountedFiles], order: StepOrder,
        report: StepReport,
    ) -> RunJob:  # fmt: skip
        from .run import RunJob

        action = step.action
        assert isinstance(action, RunAction)
        session, options = self._session, self._session.options
        return RunJob(
            action, step.instruction, standing.diff_ids, standing.platform, action.network or options.network,
            tuple(mounts), session.proxies, self._latest(standing), options.hosts, options.secrets,
            options.shm_size, options.limits, options.ulimits, session.plan.arguments.get(HOSTNAME, ""),
            options.agents, order.above, options.on_fail, self._fill(report),
        )  # fmt: skip

    def _ran(self, job: RunJob, key: RunKey, order: StepOrder, report: StepReport) -> StepLayer:
        """Run it; its layer. What waits to begin over it is told as soon as the command has ended."""
        from .run import run_job

        session = self._session

        def real(layers: Sequence[Digest]) -> RunKey:
            return key.replace(parent=layers_id(layers))

        def ran(active: Active) -> None:
            report.done()
            if session.ran:
                session.ran(active.key, active.upper, real(active.layers).digest)

        name = f"run-{self._planned.index}-{order.kind.strip()}{order.number}"
        folders = f"{session.scratch}/{name}", session.caches
        is_followed = order.is_followed()
        beneath, layer = run_job(session.store, job, folders, report, ran if is_followed else None)
        return self._cache.keep(real(beneath), StepLayer(layer), report, own=is_followed)

    def _fill(self, report: StepReport) -> Callable[[str, str], object] | None:
        fill = self._session.sources.fill
        return (lambda name, folder: fill(name, folder, report)) if fill else None

    def run_key(self, standing: StageProgress, action: RunAction, contents: Sequence[str]) -> RunKey:
        """The key of a RUN; `contents` are the digests of what its mounts show, "" for one without files."""
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
            source = self._origins.source(item, mount.source_stage, platform, report) if shows else None
            chosen = select(source, mount.source) if source else []
            if source and not chosen:
                raise item.error(f"--mount: {mount.source!r} not found in {source.name}")
            if source and mount.kind == "cache":
                content = content_of(source, chosen, self._session.misses.keep_list)
                mount = begun_from(mount, chosen[0], content, item)
            found.append((mount, source, chosen[0] if chosen else None))
        return found

    def _copy(
        self, standing: StageProgress, item: CopyInstruction, action: CopyAction, report: StepReport
    ) -> StepLayer:
        if action.is_independent:
            standing = self._session.nothing(standing.platform)
        if not action.origin or self._origins.meant(item, action.origin).context:
            source = self._origins.source(item, action.origin, standing.platform, report)
            return self._copy_from(source, standing, item, action, report)
        diff_ids, _ = self._origins.origin(item, action.origin, standing.platform, report)
        words = (*action.sources, f"parents={action.parents}", *action.excludes)
        key = StageCopyKey(
            *self._common(standing), layers_id(diff_ids), action.destination, action.chown, action.mode,
            action.unpack, action.link, words, action.contents,
        )  # fmt: skip
        if (made := self._cache.kept(standing, key, report, is_last=False)) is not None:
            return made
        self._session.bring(diff_ids, report)

        def work() -> StepLayer:
            source = self._origins.source(item, action.origin, standing.platform, report)
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
        if id(item) not in self.chosen:
            self.chosen[id(item)] = self._select(source, standing, item, action, report)
        chosen = self.chosen[id(item)]
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
        if (made := self._cache.kept(standing, key, report)) is not None:
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
            made = self._cache.keep(
                key, StepLayer(copier.copy(action, source, chosen, report), newest), report
            )
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
            elif is_url(word):
                chosen.append(self._downloaded(standing, item, action, word, token))
            else:
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

    def _downloaded(
        self, standing: StageProgress, item: CopyInstruction, action: CopyAction, url: str, token: Token
    ) -> Selection:
        """Undated files get the time of the newest input so far, or the epoch asked for."""
        self.download(item, action, url, token)()
        try:
            return self._session.downloads.select(url, action.checksum, standing.time_ns)
        except NacreError as error:
            raise at_fault(item, token)(error) from None

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

    def download(self, item: CopyInstruction, action: CopyAction, url: str, token: str) -> Callable[[], None]:
        """What sees that the file of an ADD is here; it raises as `BuildSession.download`."""
        return lambda: self._session.download(url, action.checksum, at_fault(item, token))

    def _workdir(self, standing: StageProgress, action: WorkdirAction, report: StepReport) -> StepLayer:
        key = WorkdirKey(*self._common(standing), action.path, action.user)
        if (made := self._cache.kept(standing, key, report)) is not None:
            return made
        if not self._session.builds_steps:
            return self._session.misses.unknown()
        self._session.bring(standing.diff_ids, report)
        time_ns = standing.time_ns or self._session.times.undated_ns
        return self._cache.keep(
            key, StepLayer(self._copier(standing, time_ns).folder(action), time_ns), report
        )
