"""Files between a container and the host: `cp`, by docker's rules."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ..services.containers import copying
from ..services.containers.listing import ContainerListing
from ..stores.events import of_container
from ..words.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..grammars.tar.entry import Reader
    from ..ground.extract import Form
    from ..services.containers.copying import CopyPath
    from ..stores.containers import ContainerRow
    from .wiring import Wiring

    Located = tuple[ContainerRow, bool]


def copy_out(engine: Wiring, located: Located, path: str, target: str, *, archive: bool, follow: bool) -> int:
    """A file or folder of a container to the host; the bytes copied."""
    with _opened(engine, located, path, write=False) as place, copying.Host() as host:
        found = copying.source(place, follow=follow)
        here = copying.CopyPath(host, os.fsencode(target))
        end = copying.target(here, folder=found.folder, content=found.content, name=found.name)
        owners = "keep" if archive else "caller"
        return copying.write(copying.members(found, b""), end, owners=owners, form=_form()).size


def copy_in(engine: Wiring, source: str, located: Located, path: str, *, archive: bool, follow: bool) -> int:
    """A file or folder of the host to a container; the bytes copied."""
    with _opened(engine, located, path, write=True) as place, copying.Host() as host:
        found = copying.source(copying.CopyPath(host, os.fsencode(source)), follow=follow)
        end = copying.target(place, folder=found.folder, content=found.content, name=found.name)
        owners = "keep" if archive else "root"
        return copying.write(copying.members(found, b""), end, owners=owners, form=_form()).size


def stream_out(
    engine: Wiring, located: Located, path: str, write: Callable[[bytes], object], *, follow: bool
) -> None:
    """A file or folder of a container as a tar."""
    from ..services.containers.difference import write_tar

    with _opened(engine, located, path, write=False) as place:
        found = copying.source(place, follow=follow)
        write_tar(copying.members(found, found.name or b""), write)


def stream_in(engine: Wiring, stream: Reader, located: Located, path: str) -> None:
    """The files of a tar into a folder of a container. Raises NotFound when there is no such folder."""
    from functools import partial

    from ..grammars.codecs.stream import decompress
    from ..grammars.tar.read import read_tar

    with _opened(engine, located, path, write=True) as place:
        end = copying.target(place, folder=True, content=True, name=b"")
        if not end.exists:
            raise NotFound(f"no such directory: {os.fsdecode(place.path)}")
        found = ((entry, partial(_same, payload)) for entry, payload in read_tar(decompress(stream)))
        form = _form()
        copying.write(found, end, owners="keep" if form.owners else "beside", form=form)


def _same(payload: Reader) -> Reader:
    return payload


@contextmanager
def _opened(engine: Wiring, located: Located, path: str, *, write: bool) -> Iterator[CopyPath]:
    """A place in a container: where it runs, its own namespace is entered, so no other may be before."""
    row, alone = located
    of_container(engine.root, row, "extract-to-dir" if write else "archive-path", {})
    if alone:
        with copying.opened(engine.store, row, os.fsencode(path), write=write) as place:
            yield place
        return
    with engine.outside() as store:
        opened = copying.opened(store, row, os.fsencode(path), write=write, mounted=True)
    with opened as place:
        yield place


def locate(engine: Wiring, name: str) -> Located:
    """A container, and whether its files can be reached without entering it."""
    try:
        with engine.outside() as store:
            row = ContainerListing(store).get(name)
            return row, row.state != "running" or copying.has_folder(store, row)
    except NotFound:
        raise NotFound(f"No such container: {name}") from None


def _form() -> Form:
    from ..ground.extract import Form
    from ..stores.trees.model import Mode

    mode = Mode.detect()
    return Form(whiteouts="none", owners=not mode.single, devices=mode.devices)
