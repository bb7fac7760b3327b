"""Byte code of modules, the same bytes whoever compiles: a program of its own, run here or in a base image.

A .pyc with an unchecked hash (PEP 552) has no time in it. Two things would make marshal write other bytes for
the same module: an object with a single reference gets no mark, and how many references an interned name has
depends on what else the process has loaded. So every object is referred to once more while it is written.

    main(FOLDER)     writes __pycache__ beside each module of FOLDER

It needs nothing but Python 3.8.
"""

from __future__ import annotations

import _imp
import importlib.util
import marshal
import os
import sys
import types
import warnings

_UNCHECKED = b"\x01\x00\x00\x00"


def pyc(source: bytes, path: str) -> bytes:
    """The .pyc of a module that will be at `path`; b"" for a source that cannot be compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return b""
    held: list[object] = []
    _hold(code, held)
    magic = importlib.util.MAGIC_NUMBER
    key = int.from_bytes(magic[:2], "little") | (0x0D0A << 16)
    digest = _imp.source_hash(getattr(importlib.util, "_RAW_MAGIC_NUMBER", key), source)
    return magic + _UNCHECKED + digest + marshal.dumps(code)


def _hold(value: object, held: list[object]) -> None:
    """Refer to everything that can be referred to, from a code object down."""
    held.append(value)
    if isinstance(value, (tuple, frozenset)):
        for one in value:
            _hold(one, held)
    elif isinstance(value, types.CodeType):
        for name in _FIELDS:
            _hold(getattr(value, name, None), held)


_FIELDS = (
    "co_consts", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_filename", "co_name",
    "co_qualname", "co_code", "co_linetable", "co_exceptiontable",
)  # fmt: skip


def cached_name(path: str, tag: str) -> str:
    """Where the .pyc of a module lies; `tag` as cpython-312."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name[:-3]}.{tag}.pyc"


def main(folder: str) -> None:
    """Compile every module below a folder."""
    tag = sys.implementation.cache_tag or ""
    for above, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".py"):
                _write(f"{above}/{name}", tag)


def _write(path: str, tag: str) -> None:
    with open(path, "rb") as file:
        data = pyc(file.read(), path)
    if data:
        target = cached_name(path, tag)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as out:
            out.write(data)
