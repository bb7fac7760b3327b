"""The files of a wheel on their way into a layer: laid out as `installer` does it, written as a tar.

A wheel that has modules and nothing else is laid here, for there is nothing to decide; all others are laid
by `installer` itself (see `wheelscripts`), which takes longer to load than a small wheel to become a layer.
"""

from __future__ import annotations

import csv
import hashlib
from io import BytesIO, StringIO

from ....grammars.python.needs import fields
from ....words.errors import InvalidArchive
from .bytecode import cached_name
from .layout import VENV, packages
from .wheel import INSTALLER, explained, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .layerwriter import LayerWriter
    from .wheel import Wheel


def write_wheel(out: LayerWriter, wheel: Wheel, code: dict[str, bytes], tag: str) -> None:
    """A whole wheel with the byte code of its modules. Raises InvalidArchive, TooLarge."""
    files = WheelFiles(out, wheel)
    with explained(wheel.name):
        if wheel.has_scripts:
            from .wheelscripts import install_wheel

            install_wheel(wheel, files)
        else:
            _write_plain(wheel, files)
        files.end(code, tag)


def _write_plain(wheel: Wheel, files: WheelFiles) -> None:
    """As `installer` writes it, where every file goes to the folder of modules."""
    said = dict(reversed(list(fields(wheel.read_dist_info("WHEEL").encode())))).get("wheel-version", "none")
    if not said.startswith("1."):
        raise InvalidArchive(f"{wheel.name} has the Wheel-Version {said[:20]}, which is not known")
    for path, stream, is_program in wheel.contents():
        if path != f"{wheel.dist_info_dir}/RECORD":
            files.put(f"{files.home}/{path}", stream, stream.size, 0o755 if is_program else 0o644)  # type: ignore[attr-defined]
    for name, data in INSTALLER.items():
        files.put(f"{files.home}/{wheel.dist_info_dir}/{name}", BytesIO(data), len(data))


class WheelFiles:
    """The files of one wheel on their way into a layer; `home` is the folder of modules of Python `short`."""

    def __init__(self, out: LayerWriter, wheel: Wheel) -> None:
        self._out, self._wheel = out, wheel
        self._rows: dict[str, list[str]] = {}
        self.short, self.home = out.short, packages(out.short)

    def put(self, place: str, stream: Any, size: int, mode: int = 0o644) -> list[str]:
        """Write a file; its row in RECORD: the path from `home`, the hash and the size."""
        if place in _OWN or place.startswith(f"{VENV}/bin/python"):
            raise InvalidArchive(f"{self._wheel.name} would replace {place}")
        hashed = _Hashed(stream)
        self._out.file(place, size, hashed, mode)
        row = self._rows[place] = [self._relative(place), f"sha256={hashed.text}", str(size)]
        return row

    def _relative(self, place: str) -> str:
        """As RECORD has it: from the folder of modules."""
        if place.startswith(f"{self.home}/"):
            return place[len(self.home) + 1 :]
        return f"../../../{place[len(VENV) + 1 :]}"

    def end(self, code: dict[str, bytes], tag: str) -> None:
        """Byte code, and RECORD with all that was written."""
        rows = [_line(row) for row in self._rows.values()]
        for place in self._rows:
            if data := code.get(place, b""):
                name = cached_name(place, tag)
                self._out.file(name, len(data), BytesIO(data))
                rows.append(_line([self._relative(name), "", ""]))
        record = f"{self._wheel.dist_info_dir}/RECORD"
        text = "\n".join([*sorted(rows), f"{record},,", ""]).encode()
        self._out.file(f"{self.home}/{record}", len(text), BytesIO(text))


_OWN = (f"{VENV}/pyvenv.cfg",)


def _line(row: list[str]) -> str:
    """A line of RECORD: CSV, a path with a comma in quotation marks."""
    out = StringIO()
    csv.writer(out, lineterminator="").writerow(row)
    return out.getvalue()


class _Hashed:
    """A reader that is hashed on the way."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._hash = stream, hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data: bytes = self._stream.read(size)
        self._hash.update(data)
        return data

    @property
    def text(self) -> str:
        return text_of(self._hash.digest())
