"""Which shared libraries programs of this machine need, found as its dynamic loader finds them.

Nothing is executed (`ldd` runs what it looks at). Sources: ld.so(8), "Description"; System V ABI,
chapter 5, "Shared Object Dependencies"; musl's manual for its default folders.
"""

from __future__ import annotations

import os
from mmap import ACCESS_READ, mmap

from ...grammars.elf import MAGIC, Elf, parse_cache, parse_elf
from ...words.errors import InvalidArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CACHE = "/etc/ld.so.cache"
_DEFAULTS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")


def read_elf(path: str) -> Elf | None:
    """The dynamic part of a file; None when it is no ELF file or cannot be read."""
    try:
        with open(path, "rb") as file:
            if file.read(4) != MAGIC:
                return None
            with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
                return parse_elf(data)
    except (OSError, ValueError, InvalidArchive):
        return None


class Libraries:
    """The libraries that a growing set of programs needs.

    `found` maps a library's name to its file, `interps` holds the loaders that the programs name, `folders`
    where libraries were looked for.
    """

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.interps: set[str] = set()
        self.folders: set[str] = set()
        self._elves: dict[str, Elf | None] = {}
        self._cache: dict[str, list[str]] | None = None

    def add(self, path: str) -> bool:
        """Take in all that `path` needs; False, and nothing taken in, when something is missing."""
        taken: dict[str, str] = {}
        interps: set[str] = set()
        if not self._collect(os.path.realpath(path), (), taken, interps):
            return False
        self.found |= {name: where for name, where in taken.items() if name not in self.found}
        self.interps |= interps
        return True

    def _collect(
        self, path: str, inherited: tuple[str, ...], taken: dict[str, str], interps: set[str]
    ) -> bool:
        elf = self._elf(path)
        if elf is None:
            return True
        if elf.interp:
            interps.add(elf.interp)
        own = () if elf.runpath else (*_expand(elf.rpath, path), *inherited)
        loaders = {os.path.basename(interp) for interp in (*interps, *self.interps)}
        for name in elf.needed:
            if name in taken or name in self.found or name in loaders:
                continue
            where = self._search(name, elf, (*own, *_expand(elf.runpath, path)))
            if where is None:
                return False
            taken[name] = where
            if not self._collect(os.path.realpath(where), own, taken, interps):
                return False
        return True

    def _elf(self, path: str) -> Elf | None:
        if path not in self._elves:
            self._elves[path] = read_elf(path)
        return self._elves[path]

    def _search(self, name: str, elf: Elf, folders: Iterable[str]) -> str | None:
        for path in self._candidates(name, folders):
            found = self._elf(os.path.realpath(path))
            if found is not None and found.kind == elf.kind:
                return path
        return None

    def _candidates(self, name: str, folders: Iterable[str]) -> Iterator[str]:
        if "/" in name:
            yield name
            return
        for folder in folders:
            self.folders.add(folder)
            yield os.path.join(folder, name)
        if self._cache is None:
            self._cache = _read_cache()
        yield from self._cache.get(name, ())
        for folder in default_folders():
            self.folders.add(folder)
            yield os.path.join(folder, name)


def default_folders() -> list[str]:
    """Where libraries lie without being asked for, Debian's folders per architecture included."""
    machine = os.uname().machine
    triples = [f"{base}/{machine}-linux-{libc}" for base in ("/lib", "/usr/lib") for libc in ("gnu", "musl")]
    return [*triples, *_DEFAULTS]


def _read_cache() -> dict[str, list[str]]:
    try:
        with open(_CACHE, "rb") as file:
            return parse_cache(file.read(1 << 24))
    except OSError:
        return {}


def _expand(folders: Iterable[str], path: str) -> tuple[str, ...]:
    """Folders of a file's RPATH or RUNPATH. Those with other variables than $ORIGIN are passed over."""
    origin = os.path.dirname(path)
    texts = (text.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for text in folders)
    return tuple(os.path.normpath(text) for text in texts if "$" not in text and text.startswith("/"))
