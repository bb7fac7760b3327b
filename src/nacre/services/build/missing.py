"""Cached or not, and why: what a build remembers of the one before, and what it says of each step."""

from __future__ import annotations

import os

from ...stores import caches
from ...words.light import cached_property
from ...words.value import Value
from .difference import KeyContext, Reason, reason
from .history import BuildHistory, StepPlace
from .stageprogress import StepLayer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ...images.dockerfile.plan import Plan
    from ...stores.store import Store
    from ...words.digest import Digest
    from .builder import BuildOptions
    from .cache import Cache
    from .inputs import Inputs
    from .keys import Key
    from .lists import FileChange, FileLists

_UNKNOWN = "sha256:" + "0" * 48


class StepForecast(Value):
    """What a build would do with one step.

    `step` is its title, as `[build 2/4] RUN make`. `status` is `here` (an image), `pull`, `cached`, `run`, or
    `maybe`: it is cached if the steps before make what they made the last time. `reason` is one line,
    `details` are lines with what there was before and is now.
    """

    step: str
    status: str
    reason: str = ""
    details: tuple[str, ...] = ()


class MissingFiles(Exception):
    """Only the build itself could tell what is there, and nothing is to be built; the reason in words."""


class MissingSteps:
    """The reasons of one build; with `forecasts` nothing is built, and they are noted there."""

    def __init__(self, store: Store, cache: Cache, options: BuildOptions, inputs: Inputs, plan: Plan) -> None:
        folder = os.path.realpath(inputs.folder) if inputs.folder and inputs.scratch is None else ""
        target = plan.stages[plan.target].title
        identity = "\0".join((folder, inputs.name, target, str(options.platform or "")))
        self._folder = caches.tables(store.root)
        self._cache, self._options = cache, options
        self.last = BuildHistory(self._folder, identity)
        self.forecasts: list[StepForecast] | None = None

    @cached_property
    def lists(self) -> FileLists:
        """Which files the digests of contents stand for."""
        from .lists import FileLists

        return FileLists(self._folder)

    def keep_list(self, content: str, pieces: list[bytes]) -> None:
        """Keep what a digest is of."""
        self.lists.keep(content, pieces)

    def save(self, plan: Plan) -> None:
        """Remember this build, done or not."""
        items = [item for planned in plan.stages for item in planned.stage.instructions]
        bases = {f"FROM {planned.base.name}" for planned in plan.stages}
        self.last.save({item.code for item in items} | bases)

    def base(self, place: StepPlace, image: str) -> Callable[[], Reason]:
        """Note the image that a stage begins from; what is returned tells what has changed there."""
        self.last.note(place, image, done=True)

        def changed() -> Reason:
            before = self.last.before(place, ())
            if before is None or before.record == image:
                return Reason()
            name = place.text.partition(" ")[2]
            return Reason(f"base image {name} changed", (f"{name}: {before.record} → {image}",))

        return changed

    def why(
        self, place: StepPlace, key: Key, texts: Collection[str], beneath: Reason, arguments: Sequence[str],
    ) -> Reason:  # fmt: skip
        """Why a step has to be done."""
        if self._options.no_cache:
            return Reason("--no-cache" if self.forecasts is not None else "")
        before = self.last.before(place, texts)
        if before is None:
            known = "new instruction" if self.last.is_known else ""
            return Reason(self._elsewhere(key) or known)
        if before.place.text != place.text:
            return Reason("the instruction changed", (f"it was: {before.place.text}",))
        found = self._reason(before.record, key, arguments)
        if found is None:
            return Reason("the instruction changed")
        if found.text:
            return found
        if not before.done:
            return Reason("it did not succeed the last time")
        if found.is_beneath:
            text = beneath.text or "it was done before on other layers"
            return Reason(text, beneath.details, is_beneath=True)
        return Reason("its layer is gone")

    def _elsewhere(self, key: Key) -> str:
        return "it was done before on other layers" if self._cache.was_done(key) else ""

    def _reason(self, record: str, key: Key, arguments: Sequence[str]) -> Reason | None:
        from ...images.dockerfile.lint import is_sensitive

        return reason(record, key, KeyContext({*arguments}, is_sensitive, self._changes))

    def _changes(self, old: str, new: str) -> list[FileChange]:
        return self.lists.changes(old, new)

    # --- where nothing is built

    def forecast(self, step: str, status: str, reason: str = "", details: Sequence[str] = ()) -> None:
        """Note what would be done."""
        if self.forecasts is not None:
            self.forecasts.append(StepForecast(step, status, reason, tuple(details)))

    def unknown(self) -> StepLayer:
        """What stands for the layer of a step that is not done."""
        from ...words.digest import Digest
        from ...words.oci import Descriptor

        assert self.forecasts is not None
        digest = Digest(f"{_UNKNOWN}{len(self.forecasts):016x}")
        return StepLayer((Descriptor("application/octet-stream", digest, 0), digest))


def are_known(diff_ids: Sequence[Digest]) -> bool:
    """Whether no step beneath is one that was not done."""
    return not any(diff_id.startswith(_UNKNOWN) for diff_id in diff_ids)
