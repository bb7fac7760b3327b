"""Byte code for the modules of wheels: here where this Python writes the same, else by the base's own.

Where neither can be had (a base of another architecture and version), modules are laid without it: they are
compiled each time a container begins, and the build says so.
"""

from __future__ import annotations

import marshal
import os
from contextlib import ExitStack
from io import BytesIO

from ....images.layers.ingest import add_layer
from ....words.progress import NullProgress
from . import bytecode
from .layerwriter import LayerWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ....ground.work.budget import Budget
    from ....stores.store import Store
    from ....words.digest import Digest
    from ....words.oci import Platform
    from ..report import StepReport
    from .container import RunSettings

    Modules = list[tuple[str, bytes]]

_BATCH, _BATCHES = 1 << 19, 32
"""Bytes of source that are compiled at once, and about how many such batches there are at most."""


def compile_here(modules: Iterable[tuple[str, bytes]], budget: Budget) -> dict[str, bytes]:
    """The byte code by the path of each module, made in as many processes as the budget has."""
    batches = _batches(list(modules))
    if budget.processes == 1 or len(batches) < 2:
        made = [_compiled(batch) for batch in batches]
    else:
        made = _beside(batches, budget)
    names = [path for batch in batches for path, _ in batch]
    return dict(zip(names, [code for codes in made for code in codes], strict=True))


def _compiled(batch: Modules) -> list[bytes]:
    return [bytecode.pyc(data, path) for path, data in batch]


def _beside(batches: Sequence[Modules], budget: Budget) -> list[list[bytes]]:
    """In several processes; messages between those are short, so byte code comes in memory that all have."""
    from ....ground.work.forkmap import AtFork, fork_map

    with ExitStack() as stack:
        files = [stack.enter_context(open(os.memfd_create("code"), "w+b")) for _ in batches]

        def work(number: int, _task: object, _stop: object) -> None:
            marshal.dump(_compiled(batches[number]), files[number])
            files[number].flush()

        fork_map(work, [NullProgress().task(str(number)) for number in range(len(batches))], budget, AtFork())
        for file in files:
            file.seek(0)
        return [marshal.load(file) for file in files]


def _batches(modules: Modules) -> list[Modules]:
    most = max(_BATCH, sum(len(data) for _, data in modules) // _BATCHES)
    found: list[Modules] = []
    size = most
    for path, data in modules:
        if size >= most:
            found.append([])
            size = 0
        found[-1].append((path, data))
        size += len(data)
    return found


def compile_there(
    room: RunSettings, base: Sequence[Digest], platform: Platform, python: str, modules: Modules,
    report: StepReport,
) -> dict[str, bytes]:  # fmt: skip
    """The same by the program `python` of the base, in a container that sees the modules in their place."""
    if not modules:
        return {}
    from .container import run_python

    layer = _layer_of(room.store, modules)
    with open(bytecode.__file__, encoding="utf-8") as file:
        script = "bytecode.py", f"{file.read()}\n\nmain({_above(modules)!r})\n"
    argv = (python, "-I", "-S", "/dev/pipes/bytecode.py")
    written = run_python(room, (*base, layer), platform, argv, script, report)
    if written is None:
        return {}
    with written:
        return {path: data for path, _ in modules if (data := _code_of(written, path))}


def _above(modules: Modules) -> str:
    return os.path.commonpath([path.rpartition("/")[0] for path, _ in modules])


def _layer_of(store: Store, modules: Modules) -> Digest:
    out = BytesIO()
    writer = LayerWriter(out.write, "")
    for path, data in modules:
        writer.file(path, len(data), BytesIO(data))
    writer.close()
    out.seek(0)
    return add_layer(store, out)[1]


def _code_of(written: object, path: str) -> bytes:
    folder, _, name = path.rpartition("/")
    from ..layers import Layers

    assert isinstance(written, Layers)
    cache = f"{folder}/__pycache__"[1:].encode()
    found = written.lookup(cache)
    stem = f"{name[:-3]}.cpython-".encode()
    for item in written.children(found) if found else ():
        base = item.path.rpartition(b"/")[2]
        if base.startswith(stem) and base.endswith(b".pyc"):
            return written.read(item.path, 64 << 20)
    return b""
