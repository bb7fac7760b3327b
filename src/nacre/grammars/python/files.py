"""What may be installed: a wheel or a source archive of an index, or a folder of the project.

    file name of a wheel = NAME "-" VERSION [ "-" BUILD ] "-" PYTHONS "-" ABIS "-" PLATFORMS ".whl"

Source: the specifications "Binary distribution format" and "Source distribution file name" of PyPA.
"""

from __future__ import annotations

from ...words.value import Value
from .names import canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.tags import Tag
    from packaging.version import Version

HASHES = ("sha256", "sha384", "sha512")
"""Algorithms that verify a file; weaker ones, which old indexes name, do not."""


class IndexFile(Value):
    """A file that an index or a lock offers. `url` may be a local path; `hashes` are pairs, name and hex.

    `metadata`: whether its METADATA lies beside it (PEP 658). `yanked`: only for who names its version.
    """

    name: str
    url: str
    hashes: tuple[tuple[str, str], ...] = ()
    requires_python: str = ""
    yanked: bool = False
    metadata: bool = False
    size: int = 0

    @property
    def is_wheel(self) -> bool:
        """Whether it need not be built."""
        return self.name.endswith(".whl")

    @property
    def strong(self) -> tuple[tuple[str, str], ...]:
        """The hashes that verify it."""
        return tuple(pair for pair in self.hashes if pair[0] in HASHES)


class Pinned(Value):
    """One package as it is to be installed: a `file`, or the `folder` of a project."""

    name: str
    version: str
    file: IndexFile | None = None
    folder: str = ""


def version_of(file: IndexFile, name: str) -> Version | None:
    """The version of a file of the package `name`, None for a file of another kind or package."""
    from packaging.utils import (
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )
    from packaging.version import InvalidVersion

    try:
        if file.is_wheel:
            found, version, _, _ = parse_wheel_filename(file.name)
        else:
            found, version = parse_sdist_filename(file.name)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return version if found == canonical(name) else None


def rank_of(file: IndexFile, ranks: Mapping[Tag, int]) -> int | None:
    """How well a wheel fits, 0 best; None for one that does not. A source archive fits worst."""
    if not file.is_wheel:
        return len(ranks)
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion

    try:
        _, _, _, tags = parse_wheel_filename(file.name)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    return min((ranks[tag] for tag in tags if tag in ranks), default=None)


def best_of(files: Sequence[IndexFile], ranks: Mapping[Tag, int]) -> IndexFile | None:
    """The file that fits best; of equal ones the one whose name is last, as a later build number is."""
    found = [(-rank, file.name, file) for file in files if (rank := rank_of(file, ranks)) is not None]
    return max(found, key=lambda row: row[:2])[2] if found else None


def name_in(url: str) -> str:
    """The file name at the end of a URL or path."""
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path.rpartition("/")[2])


def hashes_in_url(url: str) -> tuple[tuple[str, str], ...]:
    """The hashes in the fragment of a URL, `sha256=…`."""
    pairs = (field.partition("=") for field in url.partition("#")[2].split("&"))
    return tuple(
        (name, value.lower()) for name, _, value in pairs if name.startswith(("sha", "md5")) and value
    )
