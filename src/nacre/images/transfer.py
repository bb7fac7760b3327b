"""Pull and push: source → store, store → sink."""

from __future__ import annotations

from ..words.progress import NullProgress, Progress
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..stores import Store
    from ..words.digest import Digest
    from ..words.oci import Descriptor, Platform
    from ..words.reference import Reference
    from .image import Image
    from .source import Sink, Source


class PullResult(Value):
    """`digest` is that of what the name resolved to (an index, if it is one); bytes of layers and config."""

    image: Image
    digest: Digest
    moved: int
    reused: int
    status: str


class PushResult(Value):
    """`moved`, `mounted`, `existing`: bytes of blobs uploaded, taken over, already there."""

    digest: Digest
    size: int
    moved: int
    mounted: int
    existing: int


def pull(
    source: Source, reference: Reference, store: Store, *,
    platform: Platform | None = None, progress: Progress | None = None,
) -> PullResult:  # fmt: skip
    """Bring an image into the store and name it `reference`; the name is set last."""
    progress = progress or NullProgress()
    raise NotImplementedError


def push(
    store: Store, descriptor: Descriptor, sink: Sink, target: str, *, progress: Progress | None = None
) -> PushResult:
    """Send the image of a manifest to `sink` under `target` (tag or digest), exactly as stored."""
    raise NotImplementedError
