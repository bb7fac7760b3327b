"""How a compressed layer was made, so that it can be made again from its tar, bit for bit.

    recipe  =  codec "/" library "-" version "/" level "/" block     gzip/isa-l-2.32.1/2/1048576
            |  "none"                                                 the tar itself

Everything that decides on the bytes is in it, but for the processor: ISA-L chooses its routines by what
the processor can do. So whoever makes a layer again verifies its digest.
"""

from __future__ import annotations

from ..words.errors import Unsupported
from .codec import BLOCK, LEVELS

PLAIN = "none"
"""The recipe of a layer that is its tar."""


def recipe(codec: str, level: int | None = None) -> str:
    """How this version of nacre compresses with a codec and a level (None: the usual one).

    Raises Unsupported for a codec that nacre does not write.
    """
    if codec in ("", "none"):
        return PLAIN
    if codec not in LEVELS:
        raise Unsupported(f"cannot compress as {codec!r}: expected gzip, zstd or none")
    return f"{codec}/{_library(codec)}/{LEVELS[codec] if level is None else level}/{BLOCK}"


def _library(codec: str) -> str:
    if codec == "gzip":
        from isal import ISAL_VERSION

        return f"isa-l-{ISAL_VERSION}"
    from zstandard import ZSTD_VERSION

    return "zstd-" + ".".join(map(str, ZSTD_VERSION))


def ingredients(text: str) -> tuple[str, int | None]:
    """Codec and level of a recipe. Raises Unsupported for one of another form."""
    if text == PLAIN:
        return PLAIN, None
    parts = text.split("/")
    if len(parts) != 4 or parts[0] not in LEVELS or not parts[2].isdigit():
        raise Unsupported(f"this version of nacre cannot compress by the recipe {text[:100]!r}")
    return parts[0], int(parts[2])


def is_current(text: str) -> bool:
    """Whether this version of nacre, with the libraries it has, compresses exactly so."""
    try:
        return bool(text) and recipe(*ingredients(text)) == text
    except Unsupported:
        return False
