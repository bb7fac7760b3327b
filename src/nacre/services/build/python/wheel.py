"""A wheel that is read: checked, before anything of it is laid anywhere.

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
from contextlib import contextmanager
from io import StringIO

from ....grammars.layer.whiteouts import WHITEOUT
from ....grammars.python.names import canonical
from ....ground.files import os_errors
from ....words.errors import InvalidArchive, NacreError, TooLarge
from .layout import packages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

_MAX_FILES = 200_000
_ALWAYS, _TIMES = 64 << 20, 200
"""Bytes that any wheel may unpack to, and how many times its own size a larger one may."""
MAX_SCRIPT = 16 << 20
_MAX_DOCUMENT = 32 << 20
INSTALLER = {"INSTALLER": b"nacre\n"}
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_STRONG = ("sha256", "sha384", "sha512")


class Wheel:
    """A wheel that was opened, `name` how it is called in its index, `unpacked` the bytes of its files."""

    def __init__(self, archive: zipfile.ZipFile, name: str, size: int) -> None:
        self.name, self._archive = name, archive
        self.distribution, self.version = _named(name)
        self._infos = _checked(archive, name, size)
        self.dist_info_dir = self._dist_info()
        self.data_dir = f"{self.distribution}-{self.version}.data"
        self.unpacked = sum(info.file_size for info in self._infos.values())
        self._records = self._read_records()

    def _dist_info(self) -> str:
        """The only folder of its kind, whose package is that of the file name."""
        tops = {path.partition("/")[0] for path in self._infos}
        found = [top for top in tops if top.endswith(".dist-info")]
        if len(found) != 1 or canonical(found[0].rsplit("-", 2)[0]) != canonical(self.distribution):
            raise InvalidArchive(
                f"{self.name} is no wheel that can be installed: it needs one folder "
                f"{self.distribution}-{self.version}.dist-info, but has {sorted(found)[:5]}"
            )
        return found[0]

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

    @property
    def has_scripts(self) -> bool:
        """Whether there is more to it than files for the folder of modules."""
        return "_scripts" in self.entry_points or any(
            path.startswith(f"{self.data_dir}/") for path in self._infos
        )

    def dist_info_filenames(self) -> list[str]:
        """The names of files beside METADATA."""
        start = f"{self.dist_info_dir}/"
        return [path[len(start) :] for path in self._infos if path.startswith(start)]

    def read_dist_info(self, filename: str) -> str:
        """The text of a file beside METADATA. Raises InvalidArchive."""
        return self._text(f"{self.dist_info_dir}/{filename}")

    def contents(self) -> Iterator[tuple[str, BinaryIO, bool]]:
        """Its files, and whether they are programs; what is read must be what the record says."""
        for path, info in self._infos.items():
            if path.startswith(f"{self.dist_info_dir}/") and path.rpartition("/")[2] in _SIGNATURES:
                continue
            if "__pycache__" in path.split("/"):
                continue
            with self._archive.open(info) as stream:
                checked: Any = CheckedFile(stream, self.name, info, self._record(path))
                mode = info.external_attr >> 16
                yield path, checked, bool(stat.S_ISREG(mode) and mode & 0o111)

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
            if place and info.file_size <= MAX_SCRIPT:
                yield f"{home}/{place}", self._archive.read(info)


def _named(name: str) -> tuple[str, str]:
    """The package and the version in the file name of a wheel."""
    parts = name.removesuffix(".whl").split("-")
    if not name.endswith(".whl") or len(parts) not in (5, 6):
        raise InvalidArchive(
            f"{name[:200]} is no wheel that can be installed: its name says no version and tags"
        )
    return parts[0], parts[1]


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


class CheckedFile:
    """A file of a wheel, of `size` bytes: what is read must have the hash of its record when it ends."""

    def __init__(self, stream: Any, wheel: str, info: zipfile.ZipInfo, record: str) -> None:
        self._stream, self._wheel, self._path, self.size = stream, wheel, info.filename, info.file_size
        algorithm, _, self._wanted = record.partition("=")
        self._hash = hashlib.new(algorithm) if record else None
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes. Raises InvalidArchive at the end if they were others."""
        data: bytes = self._stream.read(size)
        if self._hash is not None:
            self._hash.update(data)
        self._at += len(data)
        if not data or self._at == self.size:
            self._end()
        return data

    def _end(self) -> None:
        digest, self._hash = self._hash, None
        if digest is not None and text_of(digest.digest()) != self._wanted.rstrip("="):
            raise InvalidArchive(f"{self._wheel} has {self._path[:200]!r}, which is not what RECORD says")


def text_of(digest: bytes) -> str:
    """A digest as RECORD has it."""
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
    with file, explained(name):
        size = file.seek(0, 2)
        with zipfile.ZipFile(file) as archive:
            yield Wheel(archive, name, size)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Whatever is wrong with a wheel as InvalidArchive."""
    try:
        yield
    except NacreError:
        raise
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError, ValueError,
        AssertionError, csv.Error,
    ) as error:  # fmt: skip
        raise InvalidArchive(f"{name} is no wheel that can be installed: {str(error)[:200]}") from None
