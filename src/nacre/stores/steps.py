"""The build cache: what a step made, by the key of everything that went into it."""

from __future__ import annotations

from ..words.digest import Digest
from ..words.oci import Descriptor
from ..words.value import Value


class StepRecord(Value):
    """One built instruction.

    `layer`/`diff_id` are None for a step that only changed the config. `config_json` is the image config
    after the step. `inputs_json` is what the key was made of, so that a later miss can say what changed;
    `parent` is the key of the step before.
    """

    key: str
    parent: str
    layer: Descriptor | None
    diff_id: Digest | None
    config_json: str
    inputs_json: str = ""
    created: float = 0.0


class StepStore:
    """Kept steps; they keep their layers from the sweep."""

    def get(self, key: str) -> StepRecord | None:
        """The step, if its layer is still here as a tree or a blob."""
        raise NotImplementedError

    def put(self, record: StepRecord) -> None:
        """Keep it; replaces one of the same key; `created` 0 means now."""
        raise NotImplementedError

    def children(self, parent: str) -> list[StepRecord]:
        """Steps that followed `parent`, the newest first (to say why a cache missed)."""
        raise NotImplementedError

    def touch(self, key: str) -> None:
        """It was used now."""
        raise NotImplementedError

    def clear(self) -> int:
        """Forget all; how many."""
        raise NotImplementedError
