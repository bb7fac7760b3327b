"""Containers: options in docker's words become requests, and requests containers."""

from __future__ import annotations

import os

from ..services.containers import Containers, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from ..images.model.runtime import RunOptions
    from ..words.progress import Progress
    from . import Engine


def run(
    engine: Engine, name: str, options: RunOptions, volumes: tuple[str, ...], input: bytes,
    progress: Progress | None,
) -> tuple[int, bytes, bytes]:  # fmt: skip
    """Run a program to its end: its code, and what it wrote."""
    from ..services.containers.volumes import parse_volume

    parsed = tuple(parse_volume(text, os.getcwd(), engine.root) for text in volumes)
    image = engine.resolve(name, progress=progress)
    request = Request(image, options.replace(volumes=parsed), reference=name, auto_remove=True)
    return _captured(Containers(engine.store), request, input)


def _captured(containers: Containers, request: Request, input: bytes) -> tuple[int, bytes, bytes]:
    """Run a container with files for its streams: no pipe can fill up, whatever it writes."""
    from ..ground.sandbox import Stdio

    with _memory("stdin") as stdin, _memory("stdout") as stdout, _memory("stderr") as stderr:
        stdin.write(input)
        stdin.seek(0)
        stdio = Stdio(stdin.fileno(), stdout.fileno(), stderr.fileno())
        code = containers.run(request, stdio, forward=False)
        return code, _content(stdout), _content(stderr)


def _memory(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(name), "w+b", buffering=0)


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
