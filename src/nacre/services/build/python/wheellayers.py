"""Wheels into layers: one for each large wheel, the small ones in a few groups, each made once.

A layer depends on its wheels, on the version of Python and on who compiled, and on nothing else: not on the
base, the project or the machine. So a second image with the same wheel has the same layer already, and when
one package moves, one layer does.
"""

from __future__ import annotations

from contextlib import ExitStack
from io import BytesIO

from ....words.digest import sha256
from ....words.value import Value
from ..keys import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ....stores.store import Store
    from ....words.digest import Digest
    from ....words.oci import Descriptor

_FORM = 1
"""Counts changes of what a layer of wheels holds."""
_LARGE = 1 << 18
"""Bytes of a wheel that is worth a layer of its own."""
_GROUPS = 16
_SMALL = 4 << 20
"""Bytes of unpacked wheels whose layer is written in memory: a thread beside would only cost."""
MOST_LAYERS = 127
"""As many as docker takes in one image."""


class LaidWheel(Value):
    """A wheel by its file name, SHA-256 and size; `path` "" while it was not needed."""

    name: str
    sha256: str
    size: int
    path: str = ""


class WheelKey(Key):
    """Layers of wheels. `code` says whose byte code is in them, "" for none."""

    wheels: tuple[str, ...]
    python: str
    code: str
    form: int = _FORM


def key_of(group: Sequence[LaidWheel], short: str, code: str) -> WheelKey:
    """The key of the layer of some wheels."""
    return WheelKey("", "", None, tuple(wheel.sha256 for wheel in group), short, code)


def divided(wheels: Sequence[LaidWheel], room: int) -> list[list[LaidWheel]]:
    """Which wheels lie in one layer, in at most `room` layers: large ones alone, then groups.

    The group of a small wheel goes by its name alone, so a new version stays in it.
    """
    ordered = sorted(wheels, key=lambda wheel: (-wheel.size, wheel.name))
    groups = max(1, min(_GROUPS, room // 2))
    large = [wheel for wheel in ordered if wheel.size >= _LARGE][: max(0, room - groups)]
    buckets: dict[int, list[LaidWheel]] = {}
    for wheel in wheels:
        if wheel not in large:
            buckets.setdefault(_bucket(wheel.name, groups), []).append(wheel)
    alone = sorted(large, key=lambda wheel: wheel.name)
    return [[wheel] for wheel in alone] + [
        sorted(buckets[number], key=lambda wheel: wheel.name) for number in sorted(buckets)
    ]


def _bucket(name: str, groups: int) -> int:
    return sha256(name.partition("-")[0].lower().encode()).digest()[0] % groups


def lay(
    store: Store, group: Sequence[LaidWheel], short: str, code: dict[str, bytes], tag: str
) -> tuple[Descriptor, Digest]:
    """The layer of some wheels that are here. Raises InvalidArchive, TooLarge, StoreError."""
    from ....images.layers.ingest import add_layer
    from .layerwriter import LayerWriter
    from .wheel import opened
    from .wheelfiles import write_wheel

    with ExitStack() as stack:
        wheels = [stack.enter_context(opened(wheel.path, wheel.name)) for wheel in group]

        def work(write: Callable[[bytes], object]) -> None:
            writer = LayerWriter(write, short)
            for wheel in wheels:
                write_wheel(writer, wheel, code, tag)
            writer.close()

        if sum(wheel.unpacked for wheel in wheels) > _SMALL:
            return _beside(store, work)
        out = BytesIO()
        work(out.write)
    out.seek(0)
    return add_layer(store, out)


def _beside(store: Store, work: Callable[[Callable[[bytes], object]], object]) -> tuple[Descriptor, Digest]:
    """The layer of what `work` writes, in a thread beside."""
    from ....ground.work.pipe import Pipe, PipeBuffer
    from ....ground.work.threads import Worker, running
    from ....images.layers.ingest import add_layer

    pipe = Pipe()

    def written() -> None:
        pieces = PipeBuffer(pipe)
        work(pieces.write)
        pieces.flush()

    with running([Worker(written, feeds=pipe)], [pipe]):
        return add_layer(store, pipe)
