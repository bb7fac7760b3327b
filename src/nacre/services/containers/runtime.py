"""A container of another runtime than the built-in sandbox."""

from __future__ import annotations

from ...words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...ground.sandbox.external import Runtime
    from ...stores.containers import ContainerRow
    from ...stores.store import Store


def runtime_of(store: Store, row: ContainerRow, record: dict[str, Any]) -> Runtime:
    """Another runtime than the built-in one, as it runs this container."""
    from ...ground.sandbox.external import Runtime

    return Runtime(record["runtime"], store.containers.file(row.id, "bundle"), row.id)


def end_runtime(store: Store, row: ContainerRow) -> None:
    """Kill the container of another runtime whose supervisor was killed. Raises Unsupported, OSError."""
    from ...ground.sandbox.external import end

    end(runtime_of(store, row, loads(row.config_json)))
