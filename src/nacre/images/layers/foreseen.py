"""What an access profile wants of lazy layers, as few large fetches, in the order of the profile.

    reads ──each byte once──► pieces ──windows──► sorted by place, small gaps filled ──► runs

A profile comes from anybody who may push to the repository. It names places only, so a wrong one has other
content fetched first, and all of it comes once in any case. The work is bounded by the pieces of the layers
and the reads of the profile.
"""

from __future__ import annotations

from ...grammars.accessprofile import distinct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...grammars.accessprofile import AccessProfile
    from .extents import Extents
    from .lazy import LazyLayer

    Run = tuple[int, list[int]]

_WINDOW = 16 << 20
"""Bytes of blobs within which the order of a profile gives way to larger fetches."""
_GAP = 1 << 18
"""Bytes that come with a fetch, since a request more takes longer. At 30 ms, of which several run at once, it
is worth some hundred KiB."""
_PAGE = 4096
"""The kernel reads whole pages of a tar, and with a content the ends of its neighbours. Where a profile was
recorded these may have been others.
"""


def foreseen(profile: AccessProfile, layers: Sequence[LazyLayer], longest: int) -> Iterator[Run]:
    """(number of the layer, its pieces in order) for each fetch of at most `longest` bytes, or one piece."""
    extents = [layer.extents for layer in layers]
    for window in _windows(_pieces(profile, layers), extents):
        ranks = {piece: rank for rank, piece in enumerate(window)}
        runs = [
            run for number in range(len(layers)) for run in _runs(number, window, extents[number], longest)
        ]
        last = len(ranks)
        yield from sorted(runs, key=lambda run: min(ranks.get((run[0], each), last) for each in run[1]))


def _pieces(profile: AccessProfile, layers: Sequence[LazyLayer]) -> Iterator[tuple[int, int]]:
    """(layer, piece), each once, where it is wanted first."""
    places = {layer.tree.diff_id: number for number, layer in enumerate(layers)}
    seen = [bytearray(len(layer.extents)) for layer in layers]
    for place, offset, length in distinct(profile.reads):
        number = places.get(profile.layers[place], -1)
        if number < 0:
            continue
        start, end = offset & -_PAGE, -(-(offset + length) & -_PAGE)
        for piece in layers[number].extents.within(start, end - start):
            if not seen[number][piece]:
                seen[number][piece] = 1
                yield number, piece


def _windows(
    pieces: Iterator[tuple[int, int]], extents: Sequence[Extents]
) -> Iterator[list[tuple[int, int]]]:
    window: list[tuple[int, int]] = []
    size = 0
    for number, piece in pieces:
        window.append((number, piece))
        size += extents[number].end[piece] - extents[number].start[piece]
        if size >= _WINDOW:
            yield window
            window, size = [], 0
    yield window


def _runs(number: int, window: list[tuple[int, int]], extents: Extents, longest: int) -> Iterator[Run]:
    """Those of one layer by their place, with the pieces of small gaps between them."""
    run: list[int] = []
    for piece in sorted(piece for layer, piece in window if layer == number):
        if run and not _fits(extents, run, piece, longest):
            yield number, run
            run = []
        run += range(run[-1] + 1, piece + 1) if run else [piece]
    if run:
        yield number, run


def _fits(extents: Extents, run: list[int], piece: int, longest: int) -> bool:
    near = extents.start[piece] - extents.end[run[-1]] <= _GAP
    return near and extents.end[piece] - extents.start[run[0]] <= longest
