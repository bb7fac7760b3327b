"""How a compressed layer was made, so that it can be made again from its tar, bit for bit.

    recipe  =  codec "/" library "-" version "/" level "/" block     gzip/isa-l-2.32.1/2/262144
            |  "none"                                                 the tar itself

Everything that decides on the bytes is in it, but for the processor: ISA-L chooses its routines by what
the processor can do. So whoever makes a layer again verifies its digest.
"""

from __future__ import annotations

from ...words.errors import Unsupported, UsageError
from .compressor import LEVELS, block_size, check_level

PLAIN = "none"
"""The recipe of a layer that is its tar."""


def recipe(codec: str, level: int | None = None) -> str:
    """How this version of nacre compresses with a codec and a level (None: the usual one).

    Raises Unsupported for a codec that nacre does not write, UsageError for a level that it has not.
    """
    level = check_level(codec, level)
    if level is None:
        return PLAIN
    return f"{codec}/{_library(codec, level)}/{level}/{block_size(codec)}"


def _library(codec: str, level: int) -> str:
    if codec == "gzip":
        from .gzip import library

        return library(level)
    from zstandard import ZSTD_VERSION

    return "zstd-" + ".".join(map(str, ZSTD_VERSION))


def ingredients(text: str) -> tuple[str, int | None]:
    """Codec and level of a recipe. Raises Unsupported for one of another form."""
    if text == PLAIN:
        return PLAIN, None
    parts = text.split("/")
    if len(parts) != 4 or parts[0] not in LEVELS or not parts[2].isdecimal():
        raise Unsupported(f"this version of nacre does not support the recipe {text[:100]!r}")
    return parts[0], int(parts[2])


def is_current(text: str) -> bool:
    """Whether this version of nacre, with the libraries it has, compresses exactly so."""
    try:
        return bool(text) and recipe(*ingredients(text)) == text
    except (Unsupported, UsageError):
        return False
