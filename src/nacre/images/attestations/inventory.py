"""What is installed in an image, read from its layers; nothing is unpacked or run.

    /var/lib/dpkg/status, status.d/*      Debian        /lib/apk/db/installed           Alpine
    rpmdb.sqlite in three places          RPM           *.dist-info, *.egg-info         Python
    node_modules/*/package.json, package-lock.json      executables linked by Go        their modules

Images come from strangers: every file has a limit, links are followed inside the image alone, and what is
damaged is left out and told of.
"""

from __future__ import annotations

from ...grammars.packages import apk, dpkg, golang, npm, python, rpm
from ...words.errors import ContentError
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import BinaryIO

    from ...grammars.packages.golang import ReadAt
    from ...grammars.packages.package import Package
    from ...stores.trees.reading.view import Found, TreeView
    from ..model.image import Image

    Parser = Callable[[bytes, str], Iterable[Package]]

_DPKG, _DPKG_FOLDER = b"var/lib/dpkg/status", b"var/lib/dpkg/status.d"
_APK = (b"lib/apk/db/installed", b"usr/lib/apk/db/installed")
_RPM = (b"var/lib/rpm", b"usr/lib/sysimage/rpm", b"usr/share/rpm")
_OTHER_RPM = {b"Packages.db": "ndb", b"Packages": "Berkeley DB"}
_RELEASE = (b"etc/os-release", b"usr/lib/os-release")
_MOST_DATABASE, _MOST_LOCK, _MOST_MANIFEST, _MOST_SMALL = 256 << 20, 64 << 20, 4 << 20, 1 << 20
_MOST_PACKAGES, _MOST_REMARKS = 50_000, 20
_LEAST_PROGRAM = 4096


class Inventory(Value):
    """Packages, each once and sorted, the distribution (`id`, `version`), and what could not be read."""

    packages: tuple[Package, ...] = ()
    distribution: tuple[str, str] = ("", "")
    remarks: tuple[str, ...] = ()


def take_inventory(image: Image) -> Inventory:
    """All that is known to be installed in an image. Raises NotFound, StoreError."""
    with image.store.trees.open(image.diff_ids) as view:
        return _Scan(view).run()


class _Scan:
    """One look at an image."""

    def __init__(self, view: TreeView) -> None:
        self._view = view
        self._packages: dict[tuple[str, ...], Package] = {}
        self._remarks: list[str] = []
        self._seen: set[tuple[str, int]] = set()

    def run(self) -> Inventory:
        self._debian()
        for path in _APK:
            self._one(path, _MOST_LOCK, apk.parse_installed)
        for folder in _RPM:
            self._rpm(folder)
        for found in self._view.walk():
            if found.kind == "file":
                self._file(found)
        packages = [self._packages[key] for key in sorted(self._packages)]
        return Inventory(tuple(packages), self._distribution(), tuple(self._remarks))

    # what is in known places

    def _debian(self) -> None:
        self._one(_DPKG, _MOST_LOCK, dpkg.parse_status)
        for name in self._view.names(_DPKG_FOLDER):
            if not name.endswith(b".md5sums"):
                self._one(_DPKG_FOLDER + b"/" + name, _MOST_SMALL, dpkg.parse_status)

    def _rpm(self, folder: bytes) -> None:
        self._one(folder + b"/rpmdb.sqlite", _MOST_DATABASE, rpm.parse_database)
        log = self._view.lookup(folder + b"/rpmdb.sqlite-wal")
        if log is not None and log.size:
            self._remark(f"/{_shown(log.path)} is not read: newer packages may be missing")
        for name, called in _OTHER_RPM.items():
            found = self._view.lookup(folder + b"/" + name)
            if found is not None and found.kind == "file":
                self._remark(f"/{_shown(found.path)} is not read: an RPM database in the format {called}")

    def _one(self, path: bytes, most: int, parser: Parser) -> None:
        found = self._view.lookup(path)
        if found is not None and found.kind == "file" and self._is_new(found):
            self._take(found, most, parser)

    def _distribution(self) -> tuple[str, str]:
        for path in _RELEASE:
            found = self._view.lookup(path)
            if found is not None and found.kind == "file":
                fields = dict(line.partition(b"=")[::2] for line in self._read(found, 1 << 16).split(b"\n"))
                return _unquoted(fields.get(b"ID", b"")), _unquoted(fields.get(b"VERSION_ID", b""))
        return "", ""

    # what may be anywhere

    def _file(self, found: Found) -> None:
        name = found.path.rpartition(b"/")[2]
        if python.is_metadata(found.path):
            self._take(found, _MOST_SMALL, lambda data, path: _maybe(python.parse_metadata(data, path)))
        elif name == b"package.json" and npm.is_manifest(found.path):
            self._take(found, _MOST_MANIFEST, lambda data, path: _maybe(npm.parse_manifest(data, path)))
        elif name == npm.LOCK:
            self._take(found, _MOST_LOCK, npm.parse_lock)
        elif found.mode & 0o111 and found.size >= _LEAST_PROGRAM and self._is_new(found):
            self._program(found)

    def _program(self, found: Found) -> None:
        with found.open() as file:
            if file.read(4) == golang.ELF:
                self._keep(golang.parse_program(_reader(file), f"/{_shown(found.path)}"))

    def _is_new(self, found: Found) -> bool:
        """Whether no other name of the file was looked at."""
        if not found.inode:
            return True
        key = str(found.layer), found.inode
        known = key in self._seen
        self._seen.add(key)
        return not known

    def _take(self, found: Found, most: int, parser: Parser) -> None:
        path = f"/{_shown(found.path)}"
        if found.size > most:
            self._remark(f"{path} is not read: it has {found.size} bytes, more than {most}")
            return
        try:
            self._keep(parser(self._read(found, most), path))
        except ContentError as error:
            self._remark(error.message)

    def _read(self, found: Found, most: int) -> bytes:
        with found.open() as file:
            return file.read(most)

    def _keep(self, packages: Iterable[Package]) -> None:
        for one in packages:
            if len(self._packages) >= _MOST_PACKAGES:
                self._remark(f"more than {_MOST_PACKAGES} packages: the rest is left out")
                return
            self._packages.setdefault((one.kind, one.namespace, one.name, one.version, one.architecture), one)

    def _remark(self, text: str) -> None:
        if len(self._remarks) < _MOST_REMARKS and text not in self._remarks:
            self._remarks.append(text)


def _maybe(package: Package | None) -> Sequence[Package]:
    return [package] if package else []


def _reader(file: BinaryIO) -> ReadAt:
    def read(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count)

    return read


def _shown(path: bytes) -> str:
    return "".join(one if one.isprintable() else "?" for one in path.decode("utf-8", "replace"))


def _unquoted(value: bytes) -> str:
    text = value.strip().strip(b"\"'").decode("ascii", "replace")
    return text if text and all(one.isalnum() or one in "._-" for one in text) else ""
