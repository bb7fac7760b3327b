"""Archives: `save` and `load`, docker's and OCI's forms in one tar."""

from __future__ import annotations

from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..stores import Store
    from ..words.progress import Progress
    from .image import Image
    from .source import Reader


class Loaded(Value):
    """One image out of an archive and the names it got (familiar form), () if none."""

    image: Image
    names: tuple[str, ...]


def save(store: Store, names: Sequence[str], write: Callable[[bytes], object]) -> None:
    """Write images as a tar that is an OCI layout and a docker-archive at once; deterministic."""
    raise NotImplementedError


def load(store: Store, stream: Reader, *, progress: Progress | None = None) -> list[Loaded]:
    """Read every image of an archive, compressed or not, from a stream that need not seek."""
    raise NotImplementedError
