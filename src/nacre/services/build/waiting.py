"""What a stage has to wait for: another stage, an image, or something that another process does.

A stage is a generator. In the process that schedules (`BuildSession.schedules`) nothing is done that takes
long: what a step then needs is raised from wherever the step is at, as `Waiting`, and the stage yields it.

    ("stage", n, target, platform)  the stage with that number of the build of a target for that platform
    ("target", image name)     another target of a bake file; the step is then asked again
    ("image", name, platform)  an image that is not here; the step is then asked again
    ("layers", diff id, …)     layers that a cache elsewhere has; the step is then asked again
    ("content", fingerprint)   the digest of files that have to be read; the step is then asked again
    ("url", url)               a file that is not fetched yet; the step is then asked again
    ("git", source)            a commit of a repository, likewise
    ("side", n, …, target, platform)  a step that depends on none before it, and is done beside stage n
    ("settled", …)             the layer of a step that has run
    ("step", key)              the step itself; what it has made is sent to the stage
"""

from __future__ import annotations

from ...words.errors import NacreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeVar

    from .report import StepReport
    from .stageprogress import StageProgress, StepLayer

    T = TypeVar("T")
    Name = tuple[object, ...]
    Work = Callable[[], object]
    Answer = tuple[StepLayer, bool] | None
    StageSteps = Generator["Waiting", Answer, StageProgress]
    """Answers are what a step has made, and whether that was for another step with the same key."""


class Waiting(Exception):
    """Something is not there yet; `work` makes it, in any process (None: nobody has to be asked).

    `report` is the step that it is done for, `blame` makes an error of the step of what `work` raises.
    `is_brief`: it is over in a moment, and says nothing meanwhile.
    """

    def __init__(
        self, name: Name, work: Work | None = None, report: StepReport | None = None, *,
        is_brief: bool = False, blame: Callable[[NacreError], NacreError] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name)
        self.name, self.work, self.report = name, work, report
        self.is_brief, self.blame = is_brief, blame


def there(ask: Callable[[], T], report: StepReport | None = None) -> Generator[Waiting, Answer, T]:
    """What `ask` gives, asked again each time that what it waits for is there; or the answer itself."""
    while True:
        try:
            return ask()
        except Waiting as found:
            waiting = found
        waiting.report = waiting.report or report
        try:
            answer = yield waiting
        except NacreError as error:
            raise waiting.blame(error) if waiting.blame else error from None
        if answer is not None:
            made, shared = answer
            if shared and report:
                report.cached()
            return made  # type: ignore[return-value]  # only a step is answered


def finish(steps: StageSteps) -> StageProgress:
    """The end of a stage whose steps wait for nothing."""
    try:
        waiting = next(steps)
    except StopIteration as end:
        progress: StageProgress = end.value
        return progress
    raise waiting
