"""A short way to the byte code of our own modules; a command loads more than eighty of them.

Python's own finder lists folders, looks for extension modules and makes twelve system calls for each file: a
quarter of what a module costs. Here byte code is opened where it must be, and is taken by Python's own rule:
this version made it, from a source of this time and size. In every other case nothing is found, and Python's
finder is asked next. A module looks the same either way.
"""

from __future__ import annotations

import sys
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader, spec_from_file_location
from marshal import loads
from posix import O_CLOEXEC, close, fstat, open, read, stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_SUFFIX = f".{sys.implementation.cache_tag}.pyc"
_PLAIN = MAGIC_NUMBER + bytes(4)
"""The start of byte code that depends on time and size; others depend on a hash, which takes longer."""


def install() -> None:
    """Ask this finder before Python's, unless byte code is optimized or kept elsewhere."""
    if not sys.flags.optimize and sys.pycache_prefix is None:
        sys.meta_path.insert(0, Finder)


class Finder:
    """An entry of `sys.meta_path` for the modules of this package."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """How to load `name`, if it is one of ours and its byte code is fresh."""
        if path is None or not name.startswith("nacre."):
            return None
        place = f"{path[0]}/{name.rpartition('.')[2]}"
        return _found(name, path[0], place, None) or _found(name, place, f"{place}/__init__", [place])


class Loader(SourceFileLoader):
    """Runs byte code that is here already; in all else the loader of a source file."""

    code: bytes | None = None

    def exec_module(self, module: ModuleType) -> None:
        """Run the code that was found; once more, Python's way."""
        code, self.code = self.code, None
        if code is None:
            super().exec_module(module)
        else:
            exec(loads(memoryview(code)[len(_PLAIN) + 8 :]), module.__dict__)


def _found(name: str, folder: str, place: str, inside: list[str] | None) -> ModuleSpec | None:
    source, cached = f"{place}.py", f"{folder}/__pycache__{place[len(folder) :]}{_SUFFIX}"
    code = _fresh(cached, source)
    if code is None:
        return None
    loader = Loader(name, source)
    loader.code = code
    spec = spec_from_file_location(name, source, loader=loader, submodule_search_locations=inside)
    if spec:
        spec.cached = cached
    return spec


def _fresh(cached: str, source: str) -> bytes | None:
    """The byte code in `cached`, if it was made from `source` as that is now."""
    try:
        code = _content(cached)
        now = stat(source)
    except OSError:
        return None
    stamp = int(now.st_mtime) & 0xFFFFFFFF | (now.st_size & 0xFFFFFFFF) << 32
    return code if code.startswith(_PLAIN + stamp.to_bytes(8, "little")) else None


def _content(path: str) -> bytes:
    descriptor = open(path, O_CLOEXEC)
    try:
        return read(descriptor, fstat(descriptor).st_size)
    finally:
        close(descriptor)
