"""Garbage: whatever no name, container, lease or kept step reaches. The only deleter of content."""

from __future__ import annotations

from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .store import Store


class Freed(Value):
    """What a sweep freed: `items` are (kind, name, bytes on disk); kinds image, container, step, blob,
    tree, active, ingest, folder. `bytes` is the sum of what came back to the disk.
    """

    count: int
    bytes: int
    items: tuple[tuple[str, str, int], ...]


def sweep(
    store: Store, *, images: str = "none", build_cache: bool = False, containers: str = "none",
    max_age: float = 7 * 86400.0,
) -> Freed:  # fmt: skip
    """Find everything unreachable and free it. Safe beside running work of other processes.

    images: 'none' keeps every remembered image; 'dangling' forgets those without a name; 'all' forgets
    those that no container uses, with their names. build_cache: forget all steps. containers: 'stopped'
    forgets containers that do not run. max_age: seconds for which an interrupted download is kept.
    """
    raise NotImplementedError
