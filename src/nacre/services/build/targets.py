"""The targets of a bake file as one graph: what they have in common is done once.

    target ──▶ Dockerfile read ──▶ sessions ─┐
    target ──▶ Dockerfile read ──▶ sessions ─┴─▶ Graph ──▶ images, names, caches of each

A target that is made from another one waits for its last stage, as a stage waits for another. The first
failure ends all; nothing has got a name then.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

from ...grammars.dockerfile.namedcontext import TARGET_IMAGE
from ...stores import caches
from ...words.errors import NacreError
from ...words.value import Value
from .builder import check_options, once_more

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...stores.store import Store
    from .builder import Builder, BuildOptions, BuildResult
    from .context import ContextFiles
    from .imports import ImportedCaches
    from .inputs import Inputs
    from .report import BuildReport
    from .session import BuildSession
    from .stageprogress import StageProgress

    Sessions = list[list[BuildSession]]


class BuildTarget(Value):
    """One of several builds; `blame` makes an error of the target of what its build raises."""

    name: str
    builder: Builder
    inputs: Inputs
    options: BuildOptions
    blame: Callable[[NacreError], NacreError]


class TargetGraph:
    """Builds of targets, each of which comes after those that it is made from."""

    def __init__(self, store: Store, targets: Sequence[BuildTarget], report: BuildReport) -> None:
        self._store, self._targets, self._report = store, targets, report

    def build(self) -> list[list[BuildResult]]:
        """Build all of them, or raise what the first failure is, with its target, and name nothing."""
        with self._store.leases.hold(), ExitStack() as stack:
            contexts = [self._opened(stack, target) for target in self._targets]
            imports = [target.builder.imports() for target in self._targets]
            sessions, made = once_more(lambda given: self._attempt(contexts, given), imports, self._report)
            return [
                self._results(*each) for each in zip(self._targets, sessions, made, strict=True)
            ]  # fmt: skip

    def _opened(self, stack: ExitStack, target: BuildTarget) -> ContextFiles:
        with _blaming(target):
            check_options(target.options)
            return stack.enter_context(target.inputs.opened(caches.tables(self._store.root)))

    def _results(
        self, target: BuildTarget, sessions: list[BuildSession], made: list[StageProgress]
    ) -> list[BuildResult]:
        with _blaming(target):
            return target.builder.results(sessions, made)

    def _attempt(
        self, contexts: Sequence[ContextFiles], imports: Sequence[ImportedCaches]
    ) -> tuple[Sessions, list[list[StageProgress]]]:
        with ExitStack() as stack:
            groups: Sessions = []
            links: dict[str, list[BuildSession]] = {}
            for target, context, imported in zip(self._targets, contexts, imports, strict=True):
                given = target.inputs, target.options, imported, context, links
                with _blaming(target):
                    group = stack.enter_context(target.builder.sessions(*given))
                for session in group:
                    session.called = target.name
                links[TARGET_IMAGE + target.name] = group
                groups.append(group)
            self._complete(groups)
            return groups, [self._ends(*each) for each in zip(self._targets, groups, strict=True)]

    def _complete(self, groups: Sessions) -> None:
        sessions = [session for group in groups for session in group]
        try:
            for target, group in zip(self._targets, groups, strict=True):
                with _blaming(target):
                    for session in group:
                        session.begin()
            if any(session.left for session in sessions):
                self._go_on(sessions)
        finally:
            for session in sessions:
                session.remember()

    def _go_on(self, sessions: list[BuildSession]) -> None:
        budget = self._store.budget
        if budget.processes > 1:
            self._side_by_side(sessions)
        else:
            for session in sessions:
                with _blaming(self._of(session)):
                    session.go_on()

    def _side_by_side(self, sessions: list[BuildSession]) -> None:
        from .graph import Graph

        graph = Graph(sessions, self._store.budget.steps)
        try:
            graph.build()
        except NacreError as error:
            raise self._of(graph.failed).blame(error) if graph.failed else error from None

    def _of(self, session: BuildSession) -> BuildTarget:
        return next(target for target in self._targets if target.name == session.called)

    def _ends(self, target: BuildTarget, group: list[BuildSession]) -> list[StageProgress]:
        with _blaming(target):
            return [session.finish() for session in group]


@contextmanager
def _blaming(target: BuildTarget) -> Iterator[None]:
    try:
        yield
    except NacreError as error:
        raise target.blame(error) from None
