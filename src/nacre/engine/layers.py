"""Layers as tars in streams; no store is needed."""

from __future__ import annotations

import os

from ..words.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..grammars.tar.entry import Entry, Reader
    from ..ground.extract import Form
    from .archives import Origin
    from .wiring import Wiring


class LayerTools:
    """What can be done with the tar of a layer, plain or compressed."""

    def __init__(self, engine: Wiring) -> None:
        self._engine = engine

    def apply(self, stream: Reader, folder: str) -> int:
        """Extract a layer onto a folder, whose files are the layers below.

        Gives how many entries have an owner, a device or an attribute that could not be made here. Raises
        NotFound, InvalidArchive.
        """
        from ..grammars.codecs.stream import decompress
        from ..ground.extract import apply

        fd = _opened(folder)
        try:
            return apply(decompress(stream), fd, self._form()).unkept
        finally:
            os.close(fd)

    def entries(self, origin: Origin) -> Iterator[Entry]:
        """What a layer holds, in the order of the tar, as it is read. Raises NotFound, InvalidArchive."""
        from ..grammars.codecs.stream import decompress
        from ..grammars.tar.read import read_tar
        from .archives import opened

        with opened(origin) as stream:
            for entry, _ in read_tar(decompress(stream)):
                yield entry

    def diff(self, old: str, new: str, write: Callable[[bytes], object]) -> None:
        """The layer that makes the folder `new` of the folder `old`, through `write`. Raises NotFound."""
        from ..ground.compare import compare
        from ..services.containers.difference import write_tar

        first = _opened(old)
        try:
            second = _opened(new)
            try:
                write_tar(compare(first, second, self._form()), write)
            finally:
                os.close(second)
        finally:
            os.close(first)

    def _form(self) -> Form:
        from ..ground.extract import Form
        from ..stores.trees.model import Mode

        mode, budget = Mode.detect(), self._engine.budget
        return Form(whiteouts="delete", owners=not mode.single, devices=mode.devices, budget=budget)


def _opened(path: str) -> int:
    from ..ground.compare import open_folder

    try:
        return open_folder(path)
    except OSError as error:
        raise NotFound(f"cannot open {path}: {(error.strerror or '').lower()}") from None
