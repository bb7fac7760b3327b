"""The Python of a base image, found by looking at its files.

The version is in the name of the program, all of it in a constant of the program or its library
(PY_VERSION); that of the C library likewise. Nothing is run, so any architecture will do.
"""

from __future__ import annotations

import importlib.util
import json
import re

from ....grammars.python.target import MACHINES, Target
from ....stores.steps import StepRecord
from ....words.errors import Unsupported, UsageError
from ....words.value import Value
from ..keys import Key, layers_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ....images.model.image import Image
    from ....stores.trees.reading.view import TreeView

_MOST = 128 << 20
_NAME = re.compile(r"python(3\.\d+)$")
_GLIBC = re.compile(rb"release version (\d+)\.(\d+)")
_MUSL = re.compile(rb"\0(1)\.(\d+)\.\d+\0")
_LIBC = (
    "lib/{m}-linux-gnu/libc.so.6",
    "lib64/libc.so.6",
    "usr/lib64/libc.so.6",
    "usr/lib/libc.so.6",
    "lib/libc.so.6",
)


class Interpreter(Value):
    """A Python of an image: the path of its program, and what it is."""

    path: str
    target: Target


class InterpreterKey(Key):
    """The Python of a base: `parent` are its layers."""

    env: tuple[tuple[str, str], ...]


def find_interpreter(image: Image, name: str) -> Interpreter:
    """The first python3 of the image's PATH, looked for once. Raises UsageError when none can be used."""
    environment = dict(str(item).partition("=")[::2] for item in image.config.run.get("Env") or ())
    used = tuple((one, environment[one]) for one in ("PATH", "PYTHON_VERSION") if one in environment)
    key = InterpreterKey(layers_id(image.diff_ids), str(image.config.platform), None, used)
    record = image.store.steps.get(key.digest)
    if record is not None:
        path, version, machine, libc, libc_version = json.loads(record.config_json)["interpreter"]
        return Interpreter(path, Target(version, machine, libc, tuple(libc_version)))
    found = _looked_for(image, name, environment)
    text = json.dumps({"interpreter": (found.path, *found.target._astuple())})
    image.store.steps.put(StepRecord(key.digest, key.parent, None, None, text, key.inputs))
    return found


def _looked_for(image: Image, name: str, environment: Mapping[str, str]) -> Interpreter:
    folders = environment.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
    machine = MACHINES.get(image.config.platform.architecture, image.config.platform.architecture)
    with image.store.trees.open(image.diff_ids) as view:
        for folder in folders:
            found = view.lookup(f"{folder}/python3".lstrip("/").encode())
            if found is not None and found.kind == "file":
                path = "/" + found.path.decode("utf-8", "replace")
                version = _version(view, path, name, environment.get("PYTHON_VERSION", ""))
                return Interpreter(path, Target(version, machine, *_libc(view, machine)))
    raise UsageError(
        f"the base image {name} has no python3 in its PATH",
        hint="choose another with --base, python:3-slim for one",
    )


def is_same(target: Target) -> bool:
    """Whether this Python writes the byte code that the target reads."""
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
    return bool(target.magic) and target.magic == magic


def _version(view: TreeView, path: str, name: str, said: str) -> str:
    match = _NAME.search(path)
    if not match:
        raise Unsupported(f"the version of {path} in {name} cannot be told from its name")
    short = match[1]
    if re.fullmatch(rf"{re.escape(short)}\.\d+", said):
        return said
    prefix = path.rpartition("/bin/")[0]
    constant = re.compile(rb"\0(%b\.\d+)(?:[a-z]+\d+)?\+?\0" % re.escape(short.encode()))
    for candidate in (
        path,
        f"{prefix}/lib/libpython{short}.so.1.0",
        f"{prefix}/lib64/libpython{short}.so.1.0",
    ):
        if (found := constant.search(_read(view, candidate))) is not None:
            return found[1].decode()
    return f"{short}.0"


def _libc(view: TreeView, machine: str) -> tuple[str, tuple[int, int]]:
    musl = _MUSL.search(_read(view, f"lib/ld-musl-{machine}.so.1"))
    if musl:
        return "musl", (int(musl[1]), int(musl[2]))
    if view.lookup(f"lib/ld-musl-{machine}.so.1".encode()) is not None:
        return "musl", (1, 1)
    for path in _LIBC:
        if (found := _GLIBC.search(_read(view, path.format(m=machine)))) is not None:
            return "glibc", (int(found[1]), int(found[2]))
    return "glibc", (2, 17)


def _read(view: TreeView, path: str) -> bytes:
    found = view.lookup(path.lstrip("/").encode())
    if found is None or found.kind != "file" or found.size > _MOST:
        return b""
    with found.open() as file:
        return file.read()
