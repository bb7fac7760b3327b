"""What is kept for the steps of one stage; of each that is not kept it is told why."""

from __future__ import annotations

from .difference import Reason
from .history import StepPlace
from .missing import are_known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...images.dockerfile.fold import Step
    from ...images.dockerfile.plan import StagePlan
    from .keys import Key
    from .report import StepReport
    from .session import BuildSession
    from .stageprogress import StageProgress, StepLayer


class StageCache:
    """The cache as one stage asks it. `beneath` gives the reason why what a step begins from has changed."""

    def __init__(self, session: BuildSession, planned: StagePlan) -> None:
        self._session, self._planned = session, planned
        self.is_disabled = planned.title in session.options.no_cache_filter
        self.beneath: Callable[[], Reason] = Reason
        self._places: dict[StepReport, StepPlace] = {}
        self._told: set[StepReport] = set()

    def place(self, report: StepReport, step: Step) -> None:
        """Say which instruction a step is, before anything else is asked for it."""
        item = step.instruction
        text = step.created_by if item.name == "FROM" else item.code
        self._places[report] = StepPlace(self._planned.title, item.line.line, text)

    def kept(
        self, standing: StageProgress, key: Key, report: StepReport, *, is_last: bool = True
    ) -> StepLayer | None:
        """What is kept for a key; if nothing is, it is told why, unless there is another key to ask for."""
        made = self._session.cache.find(key, disabled=self.is_disabled)
        if made is not None and made.layer and self._session.helps:
            self._session.bring([made.layer[1]], report)  # which the process that schedules does not know
        if made is None:
            self.missed(standing, key, report, is_last=is_last)
        else:
            report.cached()
            self._session.misses.forecast(report.title, "cached")
            self._note(key, report, done=True, is_last=is_last)
        return made

    def missed(self, standing: StageProgress, key: Key, report: StepReport, *, is_last: bool = True) -> None:
        """Tell and note that a step has to be done, unless there is another key to ask for."""
        if is_last:
            self._tell_why(standing, key, report)
        number = report.title.partition("]")[0].rpartition(" ")[2].lstrip("[")
        self.beneath = lambda: Reason(f"step {number} made other files")
        self._note(key, report, done=False, is_last=is_last)

    def _note(self, key: Key, report: StepReport, *, done: bool, is_last: bool = True) -> None:
        """Remember the inputs of a step for the next build."""
        place = self._places[report]
        place = place if is_last else place.replace(stage=f"from {place.stage}")
        self._session.misses.last.note(place, key.inputs, done=done)

    def _tell_why(self, standing: StageProgress, key: Key, report: StepReport) -> None:
        misses = self._session.misses
        if report in self._told or (self.is_disabled and misses.forecasts is None):
            return
        self._told.add(report)
        texts = {item.code for item in self._planned.stage.instructions}
        why = misses.why(self._places[report], key, texts, self.beneath(), standing.state.args)
        if misses.forecasts is None and why.text:
            report.line(f"not cached: {why.text}")
        status = "maybe" if why.is_beneath and not are_known(standing.diff_ids) else "run"
        misses.forecast(report.title, status, why.text, why.details)

    def forecast(self, report: StepReport, status: str, why: str) -> StepLayer:
        """Note what would be done, and give a layer that stands for what it would make."""
        self._session.misses.forecast(report.title, status, why)
        return self._session.misses.unknown()

    def keep(self, key: Key, made: StepLayer, report: StepReport, *, own: bool = False) -> StepLayer:
        """Keep what a step has made, and end it; `own` is as in `Cache.keep`."""
        made = self._session.cache.keep(key, made, own=own or self.is_disabled)
        self._note(key, report, done=True)
        report.done()
        return made
