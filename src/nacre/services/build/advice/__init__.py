"""What a build that ran could do better, from what it has made and knows anyway.

    text of the Dockerfile      images.dockerfile.advice
    files of the layers         layers: package caches, files doubled by chown; files: secrets, large contexts
    history of the image        history: secrets among the arguments

Only layers that this build has made are looked at, unless all are asked for: an unchanged build loads
nothing of this.
"""

from __future__ import annotations

from ....words.errors import NacreError
from .files import ContextAdvice
from .history import of_history
from .layers import LayerAdvice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ....grammars.dockerfile.checks import Advice
    from ..session import BuildSession
    from ..stageprogress import StageProgress

ALL, NONE = "all", "none"
MODES = ("auto", ALL, NONE)


def build_advice(
    sessions: Sequence[BuildSession], standing: Sequence[StageProgress], *, is_all: bool
) -> tuple[Advice, ...]:
    """Of builds that are done, while what they used is open; what costs most first, each once."""
    found: dict[tuple[str, int], Advice] = {}
    for session, end in zip(sessions, standing, strict=True):
        for one in session.checks.shown(_of_one(session, end, is_all)):
            before = found.get((one.rule, one.line))
            if before is None or before.size < one.size:
                found[one.rule, one.line] = one
    return tuple(sorted(found.values(), key=lambda one: (-_weight(one), one.line)))


def _weight(one: Advice) -> float:
    """Secrets come before all that costs bytes."""
    return float("inf") if one.rule.startswith("Secret") else one.size


def _of_one(session: BuildSession, end: StageProgress, is_all: bool) -> Iterator[Advice]:
    from ....images.dockerfile.advice import of_text

    made = None if is_all else session.cache.made
    plan = session.plan
    stages = [plan.stages[index] for index in plan.needed]
    yield from of_text(plan.file, stages, session.context.text_of, _sizes(session))
    yield from of_history(session, end)
    yield from ContextAdvice(session, made).find(end)
    try:
        yield from LayerAdvice(session.store, end, made).find()
    except (NacreError, OSError):  # a layer is gone meanwhile, or only in a cache elsewhere
        return


def _sizes(session: BuildSession) -> dict[int, int]:
    """The bytes of the layers that instructions have made, by line."""
    found: dict[int, int] = {}
    for stage in session.standing:
        sizes = {diff_id: descriptor.size for descriptor, diff_id in stage.layers}
        for step, diff_id in stage.steps:
            if diff_id:
                found[step.instruction.line.line] = sizes.get(diff_id, 0)
    return found
