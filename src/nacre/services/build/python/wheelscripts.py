"""Wheels that bring programs, or files for more than the folder of modules: laid by `installer`."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO

from installer import install
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import Hash, RecordEntry
from installer.scripts import Script
from installer.sources import WheelSource
from installer.utils import Scheme, fix_shebang

from ....words.errors import InvalidArchive
from .layout import VENV, python
from .wheel import INSTALLER, MAX_SCRIPT, CheckedFile, check_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .wheel import Wheel
    from .wheelfiles import WheelFiles


def install_wheel(wheel: Wheel, files: WheelFiles) -> None:
    """Put the files and the programs of a wheel where they belong. Raises InvalidArchive."""
    try:
        install(_InstalledWheel(wheel), _InstalledFiles(wheel, files), INSTALLER)
    except InstallerError as error:
        raise InvalidArchive(f"{wheel.name} is no wheel that can be installed: {str(error)[:200]}") from None


class _InstalledWheel(WheelSource):
    """A wheel as `installer` reads it."""

    def __init__(self, wheel: Wheel) -> None:
        super().__init__(wheel.distribution, wheel.version)
        self._wheel = wheel

    @property
    def dist_info_dir(self) -> str:
        """As the wheel has it, whatever its spelling."""
        return self._wheel.dist_info_dir

    @property
    def dist_info_filenames(self) -> list[str]:
        """The names of files beside METADATA."""
        return self._wheel.dist_info_filenames()

    def read_dist_info(self, filename: str) -> str:
        """The text of one of them."""
        return self._wheel.read_dist_info(filename)

    def get_contents(self) -> Iterator[tuple[tuple[str, str, str], BinaryIO, bool]]:
        """The files, without what RECORD says: that is checked already."""
        return (((path, "", ""), stream, is_program) for path, stream, is_program in self._wheel.contents())


class _InstalledFiles(WheelDestination):
    """Where `installer` puts the files of one wheel."""

    def __init__(self, wheel: Wheel, files: WheelFiles) -> None:
        self._wheel, self._files = wheel, files
        self._homes: dict[str, str] = {
            "purelib": files.home, "platlib": files.home, "scripts": f"{VENV}/bin", "data": VENV,
            "headers": f"{VENV}/include/site/python{files.short}/{wheel.distribution}",
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
        size = stream.size if isinstance(stream, CheckedFile) else len(stream.getbuffer())
        place = f"{self._homes[scheme]}/{path}"
        if scheme != "scripts":
            return self._put(place, stream, size, 0o755 if is_executable else 0o644)
        if size > MAX_SCRIPT:
            return self._put(place, stream, size, 0o755)
        with fix_shebang(BytesIO(stream.read()), python()) as fixed:
            data = fixed.read()
        return self._put(place, BytesIO(data), len(data), 0o755)

    def _put(self, place: str, stream: Any, size: int, mode: int) -> RecordEntry:
        path, said, _ = self._files.put(place, stream, size, mode)
        return RecordEntry(path, Hash(*said.split("=", 1)), size)

    def finalize_installation(self, scheme: Scheme, record_file_path: str, records: Any) -> None:
        """RECORD is written by `WheelFiles`, with byte code."""
