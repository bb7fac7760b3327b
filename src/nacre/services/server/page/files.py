"""The files of an image, as a container would see them, without pulling it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from ....stores.listings import place_of
from ....stores.trees.reading.view import TreeView
from ....words.errors import NotFound
from ....words.oci import Manifest
from .documents import CONFIG_TYPES
from .image import choose
from .reading import LayerContents, StillReading
from .visit import Shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from ....stores.listings import LayerListing
    from ....stores.trees.reading.view import Found
    from ....words.digest import Digest
    from ....words.oci import Descriptor
    from .documents import Documents
    from .image import ChosenImage
    from .visit import Visit

    T = TypeVar("T")
    Opened = list[tuple[Digest, LayerListing]]

_PAGE = 1000
_MOST_TEXT, _MOST_HEX = 256 << 10, 4 << 10
_NANO = 1_000_000_000
_ROW = 16


class FileRow(NamedTuple):
    """A name in a folder, and its path; `layer` counts from 1."""

    name: bytes
    path: bytes
    kind: str
    size: int
    mode: str
    owner: str
    updated: float
    link: bytes
    layer: int


class FileViews:
    """The handlers of one registry."""

    def __init__(self, documents: Documents, contents: LayerContents) -> None:
        self._documents, self._contents = documents, contents
        self.views = {"repository/files": self.show}
        self.forms: dict[str, Any] = {}

    async def show(self, visit: Visit) -> Shown:
        """A folder, or a file."""
        name, reference = visit.location.repository, visit.location.reference
        chosen = await choose(self._documents, name, reference, visit.word("platform"))
        common = {
            "name": name, "reference": reference, "platform": chosen.platform, "path": visit.location.file,
            "parts": _parts(visit.location.file),
        }  # fmt: skip
        return await waiting(common, lambda: self._show(visit, chosen, common))

    async def _show(self, visit: Visit, chosen: ChosenImage, common: dict[str, Any]) -> Shown:
        layers = layers_of(chosen)
        opened = await self._contents.image(common["name"], layers)
        last = visit.query.get("last", "").encode("utf-8", "surrogateescape")
        with TreeView(opened) as view:
            found = await self._contents.run(lambda: view.lookup(visit.location.file))
            if found is None:
                raise NotFound("this image has no such file")
            numbers = {layer.digest: number for number, layer in enumerate(layers.layers, 1)}
            by_digest = {layer.digest: layer for layer in layers.layers}
            if found.kind == "dir":
                rows, more = await self._contents.run(lambda: _rows(view, found, numbers, last))
                return Shown("files.html", {**common, "rows": rows, "more": more, "found": found})
            content = await self._contents.run(
                lambda: self._content(by_digest[found.layer], dict(opened)[found.layer], found)
            )
            values = {"content": content, "found": found, "layer": numbers[found.layer], "mode": _mode(found)}
            return Shown("file.html", {**common, **values})

    def _content(self, layer: Descriptor, listing: LayerListing, found: Found) -> dict[str, object]:
        """What is shown of a file: `text`, or `hex` of its beginning, or `why` neither."""
        if found.kind != "file":
            return {"left": 0, "why": f"This is a {_KINDS.get(found.kind, found.kind)}."}
        if not found.size:
            return {"left": 0, "why": "This file is empty."}
        node = listing.node(found.path)
        start = place_of(node) if node else -1
        if start < 0:
            return {
                "left": 0,
                "why": "This file is sparse: it lies in pieces, which are not put together here.",
            }
        data = self._contents.content(layer, start, min(found.size, _MOST_TEXT))
        text = _text(data, whole=len(data) == found.size)
        shown = len(data) if text is not None else min(len(data), _MOST_HEX)
        return {
            "why": "",
            "text": text,
            "hex": hex_of(data[:_MOST_HEX]),
            "shown": shown,
            "left": found.size - shown,
        }


_KINDS = {
    "char": "character device",
    "block": "block device",
    "fifo": "named pipe",
    "symlink": "link to nothing",
}


def layers_of(chosen: ChosenImage) -> Manifest:
    """The image that was chosen, which must be one. Raises NotFound."""
    document = chosen.opened.document
    if not isinstance(document, Manifest) or document.config.media_type not in CONFIG_TYPES:
        raise NotFound("this is no image of files")
    return document


async def waiting(common: dict[str, Any], show: Callable[[], Awaitable[Shown]]) -> Shown:
    """What `show` gives, or a page that asks again in a moment."""
    try:
        return await show()
    except StillReading as still:
        return Shown("reading.html", {**common, "known": still.known, "layers": still.layers}, 202)


def _rows(
    view: TreeView, folder: Found, numbers: dict[Digest, int], last: bytes
) -> tuple[list[FileRow], str]:
    """A page of a folder, folders and files together; and after which name it goes on, percent-encoded."""
    there = [name for name in view.names(folder.path) if name > last]
    found, above = [], view.top()
    for part in folder.path.split(b"/") if folder.path else ():
        above = view.step(above, part) or above
    for name in there[:_PAGE]:
        place = view.step(above, name)
        if place is not None:
            found.append(_row(name, place[0], view.found(place), numbers))
    more = there[_PAGE - 1].decode("utf-8", "surrogateescape") if len(there) > _PAGE else ""
    return found, more


def _row(name: bytes, path: bytes, node: Found, numbers: dict[Digest, int]) -> FileRow:
    owner, when = f"{node.uid}:{node.gid}", node.mtime_ns / _NANO
    return FileRow(
        name, path, node.kind, node.size, _mode(node), owner, when, node.link, numbers.get(node.layer, 0)
    )


def _mode(node: Found) -> str:
    types = {"dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "char": stat.S_IFCHR, "block": stat.S_IFBLK}
    types["fifo"] = stat.S_IFIFO
    return stat.filemode(types.get(node.kind, stat.S_IFREG) | node.mode)


def _parts(path: bytes) -> list[tuple[bytes, bytes]]:
    """Each folder on the way, and its path."""
    names = [name for name in path.split(b"/") if name]
    return [(name, b"/".join(names[: number + 1])) for number, name in enumerate(names)]


def _text(data: bytes, *, whole: bool) -> str | None:
    """As text, None where it is not: a character may be cut off at the end."""
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if whole or error.start < len(data) - 3:
            return None
        return data[: error.start].decode()


def hex_of(data: bytes) -> str:
    """As `hexdump -C` writes it."""
    lines = []
    for at in range(0, len(data), _ROW):
        row = data[at : at + _ROW]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |{shown}|")
    return "\n".join(lines)
