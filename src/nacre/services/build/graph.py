"""The stages of builds side by side: what takes long is done by other processes, one for each step.

    stage ──yields──▶ Waiting ──▶ Job, once for each name ──room?──▶ fork: does it, tells, ends
      ▲                                                                │ what its step says
      └──────────────── sent: what the step has made ◀── result ◀──────┘

This process forks, draws, and asks the cache; it has one thread, so that a fork is safe, and never waits for
one job alone. Builds for several platforms are one graph: what they have in common is done once. The first
failure ends all other jobs, and is what is raised. Why processes: a step forks itself (its sandbox), and
compresses; both are beside the point with threads, which share one interpreter.
"""

from __future__ import annotations

import os
import pickle
import select
from collections import deque
from contextlib import suppress
from time import monotonic

from ...grammars.dockerfile.namedcontext import TARGET_IMAGE
from ...ground import linux
from ...ground.files import surely
from ...ground.fork import RAISING, Blocked, Child, fork
from ...ground.work.memory import available
from ...stores.forkguard import resting
from ...words.errors import NacreError
from .ahead import LayersAhead
from .remote import RemoteSteps, StepsOfChild
from .stageprogress import WritingLayer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Generator, Sequence

    from ...ground.fork import ChildReport
    from .report import StepReport
    from .session import BuildSession
    from .stageprogress import StepLayer
    from .waiting import Answer, Name, Waiting, Work

    Steps = Generator[Waiting, Answer, object]
else:
    import _signal as signal

_TICK = 100
"""Milliseconds between two looks at the clock."""
_ROOM = 256 << 20
"""Bytes of memory that must be available for one more step beside others."""
_RESULT, _RAN = "result", "ran"


class RunningStage:
    """One stage of a session on its way, or one step beside its stage; `ahead` as in `StageBuild`."""

    def __init__(
        self, session: BuildSession, name: Name, steps: Steps,
        ahead: Callable[[], list[tuple[Name, Steps]]] = list,
    ) -> None:  # fmt: skip
        self.session, self.name, self.steps, self.ahead = session, name, steps, ahead


class StepJob:
    """Something that is done once, and the stages that wait for it, the first of which has asked for it."""

    def __init__(self, name: Name, work: Work, report: StepReport | None, stage: RunningStage) -> None:
        self.name, self.work, self.report, self.stages = name, work, report, [stage]
        self.session, self.stage = stage.session, stage.name
        self.child: Child | None = None
        self.brief = self.has_ran = False
        self.shown: StepsOfChild | None = None

    def answers(self, made: object) -> list[Answer]:
        """What each of the stages is told."""
        if self.name[0] != "step":
            return [None] * len(self.stages)
        layer: StepLayer = made  # type: ignore[assignment]
        return [(layer, number > 0) for number in range(len(self.stages))]


class Graph:
    """The stages of builds into one store that are not done, at most `limit` steps at work at once."""

    def __init__(self, sessions: Sequence[BuildSession], limit: int) -> None:
        self._sessions, self._limit = sessions, limit
        self._steps, self._actives = sessions[0].report.steps, sessions[0].store.actives
        self._left = 0
        self._jobs: dict[Name, StepJob] = {}
        self._made: dict[Name, object] = {}
        self._queue: deque[StepJob] = deque()
        self._running: dict[int, StepJob] = {}
        self._ready: deque[tuple[RunningStage, Answer]] = deque()
        self._sleeping: dict[Name, list[RunningStage]] = {}
        self._poll = select.poll()
        self._ticked = 0.0
        self._kept: set[str] = set()
        self._ahead = LayersAhead()
        self.failed: BuildSession | None = None
        """The one whose step has ended the builds."""

    def build(self) -> None:
        """Bring all stages to their ends. Raises NacreError."""
        self._left = sum(len(session.left) for session in self._sessions)
        try:
            for session in self._sessions:
                self._take(session)
            while self._left:
                self._go_on()
                self._start()
                self._ahead.go_on()
                if self._running:
                    self._listen()
            self._ahead.close()
        except BaseException:
            self._ahead.stop()
            try:
                self._finish_layers()
            finally:
                self._stop()
            raise
        finally:
            for active in self._kept:
                surely(self._actives.discard, active)
            for session in self._sessions:
                session.schedules = False

    def _take(self, session: BuildSession) -> None:
        session.schedules = True
        session.overlaps = self._limit > 1 and session.cache.keeps and self._actives.stacks
        for index, (steps, waiting) in session.left.items():
            ahead = session.builds[index].ahead
            self._wait(RunningStage(session, session.name_of(index), steps, ahead), waiting)

    # --- stages

    def _go_on(self) -> None:
        while self._ready:
            self._advance(*self._ready.popleft())

    def _advance(self, stage: RunningStage, answer: Answer = None, error: Exception | None = None) -> None:
        """As far as a stage comes without waiting. Raises what it fails with."""
        try:
            waiting = stage.steps.throw(error) if error else stage.steps.send(answer)
        except StopIteration as end:
            self._left -= 1
            stage.session.keep(stage.name, end.value)
            self._wake(stage.session, stage.name)
        except Exception:
            self.failed = stage.session
            raise
        else:
            self._wait(stage, waiting)

    def _wake(self, session: BuildSession, name: Name) -> None:
        """Those that have waited for a stage, or for the target that it was the last of."""
        self._ready.extend((other, None) for other in self._sleeping.pop(name, ()))
        if session.called and name == session.name_of(session.plan.target):
            target = ("target", TARGET_IMAGE + session.called)
            self._ready.extend((other, None) for other in self._sleeping.pop(target, ()))

    def _wait(self, stage: RunningStage, waiting: Waiting) -> None:
        name, work = waiting.name, waiting.work
        for side, steps in stage.ahead():
            self._left += 1
            self._ready.append((RunningStage(stage.session, side, steps), None))
        if name[0] == "settled" and name[1:] in self._made:
            self._ready.append((stage, (self._made[name[1:]], False)))  # type: ignore[arg-type]
        elif work is None:
            self._sleeping.setdefault(name, []).append(stage)
            self._add(stage.session, name)
        elif name in self._made:
            stage.session.cache.cached += 1
            self._ready.append((stage, (self._made[name], True)))  # type: ignore[arg-type]
        elif name in self._jobs:
            self._jobs[name].stages.append(stage)
        else:
            self._jobs[name] = job = StepJob(name, work, waiting.report, stage)
            job.brief = waiting.is_brief
            self._queue.append(job)

    def _add(self, session: BuildSession, name: Name) -> None:
        """Begin a stage that is waited for and was not planned."""
        if steps := session.unplanned(name):
            self._left += 1
            index = int(str(name[1]))
            self._ready.append((RunningStage(session, name, steps, session.builds[index].ahead), None))

    # --- jobs

    def _start(self) -> None:
        while self._queue and self._has_room():
            job = self._queue.popleft()
            if job.report:
                job.report.begin()
            if job.brief and not self._running and not self._queue:
                self._do_here(job)
                return
            job.shown = StepsOfChild(job.stages[0].session.report.steps)
            with Blocked() as mask:  # a signal comes before there is a child, or once that can be ended
                job.child = self._forked(job, mask)
                self._running[job.child.fileno()] = job
                self._poll.register(job.child.fileno(), select.POLLIN)

    def _do_here(self, job: StepJob) -> None:
        """Do what is alone anyway: a fork would take longer."""
        session = job.session
        session.schedules = False
        try:
            made = job.work()
        except NacreError as error:
            self._advance(job.stages[0], error=error)
            raise
        finally:
            session.schedules = True
        del self._jobs[job.name]
        self._succeeded(job, made)

    def _has_room(self) -> bool:
        running = len(self._running)
        return not running or (running < self._limit and available() >= _ROOM)

    def _forked(self, job: StepJob, mask: set[int]) -> Child:
        session, parent = job.session, os.getpid()
        folder = session.scratch  # made here: a child must not be the one that removes it

        def work(report: ChildReport) -> None:
            def ran(*told: str) -> None:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is to keep what was done
                report.tell(_RAN, *told)

            linux.die_with_parent()
            if os.getppid() == parent and folder:
                session.work_alone(RemoteSteps(report), ran)
                made = self._done(job)
                report.tell(_RESULT, pickle.dumps((made, session.told())))

        with resting():
            child = fork(work, what="the process of a build step", keep=None, signals=RAISING, mask=mask)
        self._actives.lend_roots()
        return child

    def _done(self, job: StepJob) -> object:
        """Runs in the child."""
        try:
            return job.work()
        except BaseException:
            if job.report:
                job.report.flush()
            surely(self._actives.drop_roots)
            raise

    def _listen(self) -> None:
        for fd, _ in self._poll.poll(_TICK):
            self._hear(self._running[fd])
        if monotonic() - self._ticked > _TICK / 1000:
            self._ticked = monotonic()
            self._steps.tick()

    def _hear(self, job: StepJob) -> None:
        assert job.child is not None
        assert job.shown is not None
        try:
            told = job.child.hear()
            if told is None:
                raise job.child.died()
        except Exception as error:
            self._over(job)
            self.failed = job.session
            if job.stages:
                self._advance(job.stages[0], error=error)
            raise
        if told[0] == _RESULT:
            self._over(job)
            made, learnt = pickle.loads(told[1])
            job.session.hear(learnt)
            self._succeeded(job, made)
        elif told[0] == _RAN:
            self._ran(job, *told[1:])
        else:
            job.shown.show(told)

    def _succeeded(self, job: StepJob, made: object) -> None:
        for session in self._sessions:
            session.learn(job.name, made)
        if job.name[0] in ("step", "url", "git") and job.report:
            job.report.ended()
        if job.name[0] == "step":
            self._made[job.name] = made
            self._offer(job, made)  # type: ignore[arg-type]  # a step makes that
            job.session.cache.cached += max(0, len(job.stages) - 1)
            waiting = self._sleeping.pop(("settled", *job.name), ())
            self._ready.extend((stage, (made, False)) for stage in waiting)  # type: ignore[misc]
        self._ready.extend(zip(job.stages, job.answers(made), strict=True))

    def _offer(self, job: StepJob, made: StepLayer) -> None:
        if made.layer is not None:
            self._ahead.offer(job.session, made.layer[0], job.stage)

    def _ran(self, job: StepJob, active: str, upper: str, key: str) -> None:
        """The command has ended, and its layer is being written: the stage can go on over what it made."""
        assert job.child is not None
        self._kept.add(active)
        job.has_ran = True
        found = WritingLayer(None, 0, job.child.pid, active, upper, key, job.name)
        self._ready.extend((stage, (found, False)) for stage in job.stages)
        job.stages = []
        if job.report:
            job.report.ended()

    def _over(self, job: StepJob) -> None:
        child, job.child = job.child, None
        if child is not None:
            self._poll.unregister(child.fileno())
            del self._running[child.fileno()]
            child.close()
            child.wait()
            del self._jobs[job.name]

    def _finish_layers(self) -> None:
        """Steps that have run are kept, whatever others have come to; a second ctrl-C ends them as well."""
        for job in [job for job in self._running.values() if job.has_ran]:
            child = job.child
            with suppress(NacreError, OSError):
                while child is not None and (told := child.hear()) and told[0] != _RESULT:
                    continue

    def _stop(self) -> None:
        """End what is still at work: first all are asked, then each is waited for."""
        jobs = list(self._running.values())
        for job in jobs:
            if job.child is not None:
                job.child.send(signal.SIGTERM)
        for job in jobs:
            if job.child is not None:
                job.child.ask_to_end()
                job.child.close()
            if job.report:
                job.report.canceled()
