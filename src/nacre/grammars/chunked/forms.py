"""Which table of contents a layer has, and reading it."""

from __future__ import annotations

from . import estargz, toc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...words.oci import Descriptor
    from .layout import TableOfContents

    Read = Callable[[int, int], bytes]
    """Gives the bytes of the blob from a start to an end."""


def spans(descriptor: Descriptor) -> list[tuple[int, int]] | None:
    """The parts of the blob that its table is surely read from; None when it announces none."""
    where = toc.announced(descriptor)
    if where is not None:
        return [where.span]
    if estargz.announced(descriptor):
        return [(descriptor.size - estargz.FOOTER, descriptor.size)]
    return None


def has_table(descriptor: Descriptor) -> bool:
    """Whether a layer announces a table of contents that can be used."""
    return spans(descriptor) is not None


def open_layout(descriptor: Descriptor, read: Read) -> TableOfContents | None:
    """The verified table of a layer; None, with nothing read, when it announces none that can be used.

    Raises InvalidDocument, InvalidArchive, and what `read` raises.
    """
    where = toc.announced(descriptor)
    if where is not None:
        return toc.ChunkedTable(where, read(*where.span))
    digest = estargz.announced(descriptor)
    return estargz.StargzTable(digest, descriptor.size, read) if digest else None
