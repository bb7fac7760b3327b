"""A wheel on its way into a layer: checked, laid out as `installer` does it, written as a tar.

    name.dist-info/RECORD   the only source of what belongs to the wheel; every hash must hold
    name.data/SCHEME/…      scripts, headers and files of the environment
    console scripts         made from entry_points.txt

A wheel is hostile input: no name leads out of the environment or over its interpreter, nothing is a link, and
it does not unpack to more than it could honestly hold. Source: PyPA, "Binary distribution format".
"""

from __future__ import annotations

import base64
import csv
import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO
from typing import Any, BinaryIO

from installer import install
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import Hash, RecordEntry
from installer.scripts import Script
from installer.sources import WheelFile
from installer.utils import Scheme, fix_shebang

from ....grammars.layer.whiteouts import WHITEOUT
from ....ground.files import os_errors
from ....words.errors import InvalidArchive, NacreError, TooLarge
from .bytecode import cached_name
from .layerwriter import LayerWriter
from .layout import VENV, packages, python

_MAX_FILES = 200_000
_ALWAYS, _TIMES = 64 << 20, 200
"""Bytes that any wheel may unpack to, and how many times its own size a larger one may."""
_MAX_SCRIPT = 16 << 20
_MAX_DOCUMENT = 32 << 20
_INSTALLER = {"INSTALLER": b"nacre\n"}
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_STRONG = ("sha256", "sha384", "sha512")


class Wheel(WheelFile):
    """A wheel that was opened; `path` is the file, `name` how it is called in its index."""

    def __init__(self, archive: zipfile.ZipFile, name: str, size: int) -> None:
        archive.filename = name
        super().__init__(archive)
        self.name, self._archive = name, archive
        self._infos = _checked(archive, name, size)
        self._records = self._read_records()

    def _read_records(self) -> dict[str, tuple[str, str]]:
        text = self._text(f"{self.dist_info_dir}/RECORD")
        rows = [row for row in csv.reader(StringIO(text)) if row]
        if any(len(row) != 3 for row in rows):
            raise InvalidArchive(f"{self.name} has a RECORD that cannot be read")
        return {row[0]: (row[1], row[2]) for row in rows}

    def _text(self, path: str) -> str:
        info = self._infos.get(path)
        if info is None or info.file_size > _MAX_DOCUMENT:
            raise InvalidArchive(f"{self.name} has no usable {path}")
        return self._archive.read(info).decode("utf-8", "replace")

    @property
    def metadata(self) -> bytes:
        """Its METADATA, as it is in the wheel."""
        return self._text(f"{self.dist_info_dir}/METADATA").encode()

    @property
    def entry_points(self) -> str:
        """The text of its entry points, "" without."""
        path = f"{self.dist_info_dir}/entry_points.txt"
        return self._text(path) if path in self._infos else ""

    def read_dist_info(self, filename: str) -> str:
        """The text of a file beside METADATA. Raises InvalidArchive."""
        return self._text(f"{self.dist_info_dir}/{filename}")

    def get_contents(self) -> Iterator[tuple[tuple[str, str, str], BinaryIO, bool]]:
        """Its files, each with its record; what is read must be what the record says."""
        for path, info in self._infos.items():
            if path.startswith(f"{self.dist_info_dir}/") and path.rpartition("/")[2] in _SIGNATURES:
                continue
            if "__pycache__" in path.split("/"):
                continue
            with self._archive.open(info) as stream:
                checked: Any = _Checked(stream, self.name, info, self._record(path))
                mode = info.external_attr >> 16
                yield (path, "", ""), checked, bool(stat.S_ISREG(mode) and mode & 0o111)

    def _record(self, path: str) -> str:
        """The hash of a file as RECORD has it, "" for RECORD itself. Raises InvalidArchive."""
        if path == f"{self.dist_info_dir}/RECORD":
            return ""
        said = self._records.get(path, ("", ""))[0]
        if said.partition("=")[0] not in _STRONG:
            raise InvalidArchive(f"{self.name} has {path[:200]!r}, for which RECORD has no hash")
        return said

    def modules(self, short: str) -> Iterator[tuple[str, bytes]]:
        """The modules and where they will be, to be compiled."""
        home = packages(short)
        for path, info in self._infos.items():
            place = _module_place(path, self.data_dir)
            if place and info.file_size <= _MAX_SCRIPT:
                yield f"{home}/{place}", self._archive.read(info)


def _module_place(path: str, data: str) -> str:
    """Where a module is below the folder of modules, "" for what is none."""
    if not path.endswith(".py"):
        return ""
    if not path.startswith(f"{data}/"):
        return path
    scheme, _, rest = path[len(data) + 1 :].partition("/")
    return rest if scheme in ("purelib", "platlib") else ""


def _checked(archive: zipfile.ZipFile, name: str, size: int) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by their names. Raises InvalidArchive, TooLarge."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    total = sum(info.file_size for info in infos)
    if len(infos) > _MAX_FILES or total > max(_ALWAYS, _TIMES * size):
        raise TooLarge(
            f"{name} unpacks to {len(infos)} files of {total} bytes, more than a wheel of its size can"
        )
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        check_path(info.filename, name)
        if info.filename in found:
            raise InvalidArchive(f"{name} has {info.filename[:200]!r} twice")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise InvalidArchive(f"{name} has {info.filename[:200]!r}, which is no regular file")
        if info.flag_bits & 1:
            raise InvalidArchive(f"{name} is encrypted")
        found[info.filename] = info
    return found


def check_path(path: str, name: str) -> None:
    """Raises InvalidArchive for a path that leads out of where it is put, or is no name of a file."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in path or "\\" in path:
        raise InvalidArchive(f"{name} has a file whose name leads out of it: {path[:200]!r}")
    if any(part.startswith(WHITEOUT.decode()) for part in parts):
        raise InvalidArchive(f"{name} has a file that no layer can hold: {path[:200]!r}")


class _Checked:
    """A file of a wheel: what is read must have the hash of its record when it ends."""

    def __init__(self, stream: Any, wheel: str, info: zipfile.ZipInfo, record: str) -> None:
        self._stream, self._wheel, self._path, self.size = stream, wheel, info.filename, info.file_size
        algorithm, _, self._wanted = record.partition("=")
        self._hash = hashlib.new(algorithm) if record else None
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._stream.read(size)
        if self._hash is not None:
            self._hash.update(data)
        self._at += len(data)
        if not data or self._at == self.size:
            self._end()
        return data

    def _end(self) -> None:
        digest, self._hash = self._hash, None
        if digest is not None and _text_of(digest.digest()) != self._wanted.rstrip("="):
            raise InvalidArchive(f"{self._wheel} has {self._path[:200]!r}, which is not what RECORD says")


def _text_of(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def console_scripts(text: str) -> list[str]:
    """The names of the console scripts in an entry_points.txt."""
    from configparser import ConfigParser, Error

    parser = ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except Error:
        return []
    return list(parser["console_scripts"]) if parser.has_section("console_scripts") else []


@contextmanager
def opened(path: str, name: str) -> Iterator[Wheel]:
    """A wheel on disk, checked. Raises InvalidArchive, TooLarge, StoreError."""
    with os_errors(f"read {name}"):
        file = open(path, "rb")
    with file, _explained(name):
        size = file.seek(0, 2)
        with zipfile.ZipFile(file) as archive:
            yield Wheel(archive, name, size)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except NacreError:
        raise
    except (
        zipfile.BadZipFile, zlib.error, InstallerError, EOFError, NotImplementedError, KeyError, ValueError,
        AssertionError, csv.Error,
    ) as error:  # fmt: skip
        raise InvalidArchive(f"{name} is no wheel that can be installed: {str(error)[:200]}") from None


def write_wheel(out: LayerWriter, wheel: Wheel, code: dict[str, bytes], tag: str) -> None:
    """A whole wheel with the byte code of its modules. Raises InvalidArchive, TooLarge."""
    with _explained(wheel.name):
        install(wheel, _WheelDestination(out, wheel, code, tag), _INSTALLER)


class _WheelDestination(WheelDestination):
    """Where `installer` puts the files of one wheel."""

    def __init__(self, out: LayerWriter, wheel: Wheel, code: dict[str, bytes], tag: str) -> None:
        self._out, self._wheel, self._code, self._tag = out, wheel, code, tag
        self._places: list[str] = []
        site = packages(out.short)
        self._homes: dict[str, str] = {
            "purelib": site, "platlib": site, "scripts": f"{VENV}/bin", "data": VENV,
            "headers": f"{VENV}/include/site/python{out.short}/{wheel.distribution}",
        }  # fmt: skip

    def write_script(self, name: str, module: str, attr: str, section: Any) -> RecordEntry:
        """A program that calls a function of a module."""
        check_path(name, self._wheel.name)
        if "/" in name or not all(part.isidentifier() for part in f"{module}.{attr}".split(".")):
            raise InvalidArchive(f"{self._wheel.name} has an entry point that is no function: {name[:100]!r}")
        _, data = Script(name, module, attr, section).generate(python(), "posix")
        return self._put(f"{VENV}/bin/{name}", BytesIO(data), len(data), 0o755)

    def write_file(self, scheme: Scheme, path: Any, stream: Any, is_executable: bool) -> RecordEntry:
        """A file of the wheel; the first line of a script names the interpreter."""
        path = str(path)
        check_path(path, self._wheel.name)
        size = stream.size if isinstance(stream, _Checked) else len(stream.getbuffer())
        place = f"{self._homes[scheme]}/{path}"
        if scheme != "scripts":
            return self._put(place, stream, size, 0o755 if is_executable else 0o644)
        if size > _MAX_SCRIPT:
            return self._put(place, stream, size, 0o755)
        with fix_shebang(BytesIO(stream.read()), python()) as fixed:
            data = fixed.read()
        return self._put(place, BytesIO(data), len(data), 0o755)

    def _put(self, place: str, stream: Any, size: int, mode: int) -> RecordEntry:
        if place in _OWN or place.startswith(f"{VENV}/bin/python"):
            raise InvalidArchive(f"{self._wheel.name} would replace {place}")
        hashed = _Hashed(stream)
        self._out.file(place, size, hashed, mode)
        self._places.append(place)
        return RecordEntry(self._relative(place), Hash("sha256", hashed.text), size)

    def _relative(self, place: str) -> str:
        """As RECORD has it: from the folder of modules."""
        home = self._homes["purelib"]
        if place.startswith(f"{home}/"):
            return place[len(home) + 1 :]
        return f"../../../{place[len(VENV) + 1 :]}"

    def finalize_installation(self, scheme: Scheme, record_file_path: str, records: Any) -> None:
        """Byte code, and RECORD with all that was written."""
        rows = [str(",".join(_row(record))) for _, record in records if record.path != record_file_path]
        for place in self._places:
            if data := self._code.get(place, b""):
                name = cached_name(place, self._tag)
                self._out.file(name, len(data), BytesIO(data))
                rows.append(",".join(_row(RecordEntry(self._relative(name), None, None))))
        text = "\n".join([*sorted(rows), f"{record_file_path},,", ""]).encode()
        self._out.file(f"{self._homes['purelib']}/{record_file_path}", len(text), BytesIO(text))


_OWN = (f"{VENV}/pyvenv.cfg",)


def _row(record: RecordEntry) -> list[str]:
    """A line of RECORD: CSV, a path with a comma in quotation marks."""
    out = StringIO()
    hashed = f"{record.hash_.name}={record.hash_.value}" if record.hash_ else ""
    size = "" if record.size is None else str(record.size)
    csv.writer(out, lineterminator="").writerow([record.path, hashed, size])
    return [out.getvalue()]


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
        return _text_of(self._hash.digest())
