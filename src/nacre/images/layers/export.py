"""The file system of an image as a folder or one tar, all layers merged."""

from __future__ import annotations

import os
from io import BytesIO

from ...grammars.tar.entry import Entry
from ...grammars.tar.write import TarWriter
from ...ground.extract import Form, extract
from ...ground.files import os_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from ...grammars.tar.entry import Reader
    from ...stores.trees.reading.view import Found
    from ..model.image import Image


def write_tar(
    images: Sequence[tuple[str, Image]], write: Callable[[bytes], object],
    more: Sequence[tuple[Entry, bytes]] = (),
) -> None:  # fmt: skip
    """Everything, parents first, each image in the folder named with it ("" for none); then `more` files.

    Raises NotFound, StoreError.
    """
    tar = TarWriter(write)
    for folder, image in images:
        if folder:
            tar.add(Entry(folder.encode(), "dir", 0o755))
        for entry, payload in _entries(image):
            if not folder:
                tar.add(entry, payload)
            elif entry.path:
                tar.add(_below(entry, folder.encode() + b"/"), payload)
    for entry, data in more:
        tar.add(entry, BytesIO(data))
    tar.close()


def _below(entry: Entry, prefix: bytes) -> Entry:
    link = prefix + entry.link if entry.kind == "hardlink" else entry.link
    return entry._replace(path=prefix + entry.path, link=link)


def write_folder(image: Image, folder: str) -> None:
    """Into a folder, made if absent, over what is there; all files belong to the caller.

    As docker's local exporter. Device nodes become empty files. Not atomic. Raises StoreError.
    """
    form = Form(whiteouts="delete", owners=False, devices=False)
    with os_errors(f"write to {folder}"):
        os.makedirs(folder, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            extract(((entry, payload) for entry, payload in _entries(image) if entry.path), fd, form)
        finally:
            os.close(fd)


def _entries(image: Image) -> Iterator[tuple[Entry, Reader]]:
    names: dict[tuple[str, int], bytes] = {}
    for found in image.walk():
        entry = Entry(
            found.path, found.kind, found.mode, found.uid, found.gid, found.mtime_ns, found.size,
            found.link, found.major, found.minor, found.xattrs,
        )  # fmt: skip
        if found.inode:
            first = names.setdefault((found.layer, found.inode), found.path)
            if first != found.path:
                yield entry._replace(kind="hardlink", size=0, link=first, xattrs=()), BytesIO()
                continue
        yield entry, FoundContent(found)


class FoundContent:
    """The content of a file, opened at the first read and closed at the last."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._file: BinaryIO | None = None
        self._ended = found.kind != "file"

    def read(self, count: int, /) -> bytes:
        """At most so many bytes, b"" at the end. Raises OSError."""
        if self._ended:
            return b""
        self._file = self._file or self._found.open()
        data = self._file.read(count)
        if not data:
            self._file.close()
            self._ended = True
        return data
