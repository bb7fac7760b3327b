"""What stands while a stage is being built, and how it becomes an image config. Pure."""

from __future__ import annotations

from ...images.dockerfile.fold import StageState
from ...images.model.edit import new_config, with_fields
from ...words.oci import Descriptor
from ...words.timestamps import parse_timestamp
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ...images.dockerfile.fold import Step
    from ...images.model.image import Image
    from ...words.digest import Digest
    from ...words.oci import ImageConfig, Platform

COMMENT = "nacre"
_SECOND = 1_000_000_000


class StepLayer(Value):
    """The layer a step made, None if it changed nothing; `time_ns` is the newest time among its inputs."""

    layer: tuple[Descriptor, Digest] | None
    time_ns: int = 0


class WritingLayer(StepLayer):
    """What a step has made whose layer is still being written by the process `pid`.

    `upper` shows it meanwhile, in the active `active`; the layer will be kept under `key`, and the step is
    called `name`.
    """

    pid: int = 0
    active: str = ""
    upper: str = ""
    key: str = ""
    name: tuple[object, ...] = ()


class StageProgress(Value):
    """A stage so far: state, layers (lowest first), history, and the newest time among all inputs.

    `base` is what it began from: how many layers and entries of history, and its id ("" for nothing).
    """

    state: StageState
    platform: Platform
    layers: tuple[tuple[Descriptor, Digest], ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    time_ns: int = 0
    base: tuple[int, int, str] = (0, 0, "")
    steps: tuple[tuple[Step, Digest | None], ...] = ()
    """What was done so far, in this stage and those beneath it, each with the tree it made."""

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The trees, lowest first."""
        return tuple(diff_id for _, diff_id in self.layers)

    def after(self, state: StageState, step: Step, made: StepLayer | None) -> StageProgress:
        """With a step done; `made` is None for one that is about the config only."""
        time_ns = max(self.time_ns, made.time_ns if made else 0)
        layer = made.layer if made else None
        entry: dict[str, Any] = {
            "created": rfc3339(time_ns), "created_by": step.created_by, "comment": COMMENT,
        }  # fmt: skip
        if layer is None:
            entry["empty_layer"] = True
        return self.replace(
            state=state, time_ns=time_ns,
            layers=(*self.layers, layer) if layer else self.layers,
            history=(*self.history, entry) if step.created_by else self.history,
            steps=(*self.steps, (step, layer[1] if layer else None)),
        )  # fmt: skip

    def followed(self, state: StageState) -> StageProgress:
        """The beginning of a stage from this one."""
        id = str(Descriptor.of(self.config({}).encode(), "").digest)
        return self.replace(state=state, base=(len(self.layers), len(self.history), id))

    def config(self, labels: Mapping[str, str]) -> ImageConfig:
        """The image config. The same inputs give the same bytes: its time is that of the newest input."""
        run = dict(self.state.run)
        if labels:
            run["Labels"] = {**(run.get("Labels") or {}), **labels}
        return with_fields(
            new_config(self.platform, created=rfc3339(self.time_ns), author=self.state.author),
            config=run,
            rootfs={"type": "layers", "diff_ids": [str(diff_id) for diff_id in self.diff_ids]},
            history=list(self.history),
        )


def from_image(image: Image, state: StageState, epoch_ns: int | None) -> StageProgress:
    """The beginning of a stage whose base is an image. What is made bears `epoch_ns`, if there is one."""
    config = image.config
    layers = tuple((layer.descriptor, layer.diff_id) for layer in image.layers)
    time_ns = parse_rfc3339(config.created) if epoch_ns is None else epoch_ns
    history = _padded(config.history, len(layers))
    base = len(layers), len(history), str(image.id)
    return StageProgress(state, config.platform, layers, history, time_ns, base)


def _padded(history: Sequence[Mapping[str, Any]], layers: int) -> tuple[Mapping[str, Any], ...]:
    """History that names every layer: images without one get entries that say only that."""
    named = sum(not entry.get("empty_layer") for entry in history)
    if named > layers:
        history, named = [], 0
    missing: list[Mapping[str, Any]] = [{"created_by": "", "comment": "imported"}] * (layers - named)
    return (*missing, *history)


def rfc3339(time_ns: int) -> str:
    """Whole seconds in UTC."""
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // _SECOND))


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970, in whole seconds; 0 for anything that is no such time."""
    return max(int(parse_timestamp(text) or 0), 0) * _SECOND


def shown(step: Step) -> str:
    """The instruction on one line."""
    words = " ".join(step.instruction.code.split())
    return words if len(words) <= 200 else words[:199] + "…"
