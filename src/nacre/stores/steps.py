"""The build cache: what a step made, by the key of everything that went into it."""

from __future__ import annotations

import time

from ..words.digest import Digest
from ..words.oci import Descriptor
from ..words.quickjson import dumps, loads
from ..words.value import Value
from .database import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class StepRecord(Value):
    """One built instruction.

    `layer`/`diff_id` are None for a step that only changed the config. `config_json` is the image config
    after the step. `inputs_json` is what the key was made of, so that a later miss can say what changed;
    `parent` is the key of the step before. `created` and `used` (last, 0 for never) are seconds since 1970.
    """

    key: str
    parent: str
    layer: Descriptor | None
    diff_id: Digest | None
    config_json: str
    inputs_json: str = ""
    created: float = 0.0
    used: float = 0.0


_COLUMNS = "key, parent, layer, diff_id, config, inputs, created, used"


class StepStore:
    """Kept steps; they keep their layers from the sweep. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> StepRecord | None:
        """The step, if its layer is still here as a tree or a blob."""
        row = self._database.one(f"SELECT {_COLUMNS} FROM step WHERE key = ?", (key,))
        if row is None:
            return None
        record = _record(row)
        return record if record.layer is None or self._whole(record) else None

    def _whole(self, record: StepRecord) -> bool:
        sql = "SELECT 1 FROM tree WHERE diff_id = ? UNION ALL SELECT 1 FROM blob WHERE digest = ?"
        digest = record.layer.digest if record.layer else ""
        return self._database.one(sql, (record.diff_id or "", digest)) is not None

    def put(self, record: StepRecord) -> None:
        """Keep it; replaces one of the same key; `created` 0 means now."""
        now = time.time()
        layer = dumps(record.layer.to_json()) if record.layer else ""
        values = (record.key, record.parent, layer, record.diff_id or "", record.config_json)
        self._database.change(
            "INSERT OR REPLACE INTO step VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, record.inputs_json, record.created or now, now),
        )

    def put_first(self, record: StepRecord) -> StepRecord:
        """Keep it, unless another process was first; what is kept now."""
        with self._database.transaction():
            found = self.get(record.key)
            if found is None:
                self.put(record)
        return found or record

    def children(self, parent: str) -> list[StepRecord]:
        """Steps that followed `parent`, the newest first (to say why a cache missed)."""
        sql = f"SELECT {_COLUMNS} FROM step WHERE parent = ? ORDER BY created DESC, key LIMIT 100"
        return [_record(row) for row in self._database.execute(sql, (parent,))]

    def beside(self, key: str) -> list[StepRecord]:
        """The step under all its keys: those with the same layer on the same parent; [] without a layer."""
        sql = (
            f"SELECT {_COLUMNS} FROM step WHERE layer <> '' AND (parent, layer) = "
            "(SELECT parent, layer FROM step WHERE key = ?) ORDER BY key LIMIT 100"
        )
        return [_record(row) for row in self._database.execute(sql, (key,))]

    def touch(self, key: str) -> None:
        """It was used now."""
        self._database.change("UPDATE step SET used = ? WHERE key = ?", (time.time(), key))

    def all(self) -> list[StepRecord]:
        """Every step kept, the newest first."""
        sql = f"SELECT {_COLUMNS} FROM step ORDER BY created DESC, key"
        return [_record(row) for row in self._database.execute(sql)]

    def bytes(self) -> int:
        """Bytes of content in the trees of all steps, each once."""
        sql = "SELECT TOTAL(size) FROM tree WHERE diff_id IN (SELECT diff_id FROM step)"
        row = self._database.one(sql, ())
        return int(row[0]) if row else 0

    def without_tree(self) -> list[str]:
        """Keys of the steps whose tree is not recorded any more."""
        sql = "SELECT key FROM step WHERE diff_id <> '' AND diff_id NOT IN (SELECT diff_id FROM tree)"
        return [row[0] for row in self._database.execute(sql)]

    def clear(self) -> int:
        """Forget all; how many."""
        return self._database.change("DELETE FROM step")


def _record(row: tuple[Any, ...]) -> StepRecord:
    key, parent, layer, diff_id, config, inputs, created, used = row
    descriptor = Descriptor.from_json(loads(layer)) if layer else None
    tree = Digest(diff_id) if diff_id else None
    return StepRecord(key, parent, descriptor, tree, config, inputs, created, used)
