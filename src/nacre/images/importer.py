"""`import`: a root file system as one tar becomes an image of one layer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..stores import Store
    from ..words.oci import Platform
    from ..words.reference import Reference
    from .image import Image
    from .source import Reader


def import_tar(
    store: Store, stream: Reader, reference: Reference | None = None, *,
    changes: Sequence[str] = (), message: str = "", platform: Platform | None = None, created: str = "",
    origin: str = "-",
) -> Image:  # fmt: skip
    """Make an image of the tar in `stream` (plain, gzip, zstd, xz, bzip2), read once."""
    raise NotImplementedError
