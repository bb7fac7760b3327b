"""Builds: the builder is handed what it needs, a way to resolve FROM and one to fetch a URL."""

from __future__ import annotations

import os

from ..images.model.proxies import proxy_variables
from ..images.model.runtime import host_line
from ..services.build import Builder, BuildOptions, load
from ..services.build import call as look
from ..words.errors import DockerfileError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from ..grammars.tar.entry import Reader
    from ..images.model.image import Image
    from ..services.build import BuildResult, Inputs
    from ..words.oci import Platform
    from ..words.progress import Progress
    from . import Engine
    from .archives import Downloaded, Origin


CALLS = ("check", "outline", "targets")


def merged(options: BuildOptions | None, **given: object) -> BuildOptions:
    """The options, with those given besides that say anything."""
    return (options or BuildOptions()).replace(**{name: value for name, value in given.items() if value})


def build(
    engine: Engine, origins: tuple[Origin, Origin], options: BuildOptions, pull: str,
    progress: Progress | None,
) -> BuildResult:  # fmt: skip
    """Build the first of `origins`, a folder or a stream, by the second, "" or a Dockerfile."""

    def base(name: str, wanted: Platform | None) -> Image:
        return engine.resolve(name, wanted, pull=pull, progress=progress)

    def fetch(url: str) -> AbstractContextManager[Downloaded]:
        from .archives import download

        return download(engine, url)

    for item in options.hosts:
        host_line(item)
    if options.limits:
        from ..images.model.permitted import permitted

        options = options.replace(limits=permitted(options.limits, engine.config.warn))
    (context, stream), (file, other) = map(_divided, origins)
    with load(engine.store, context, file, stdin=stream or other) as inputs:
        proxies = proxy_variables(dict(engine.config.proxies), engine.container_proxies())
        try:
            return Builder(engine.store, base, fetch, progress, proxies=proxies).build(inputs, options)
        except DockerfileError as error:
            error.source = _line(inputs, error)
            raise


def call(
    engine: Engine, origins: tuple[Origin, Origin], options: BuildOptions, method: str
) -> dict[str, Any]:
    """What the Dockerfile says of itself, from the same origins."""
    if method not in CALLS:
        raise UsageError(f"unsupported request {method[:80]!r}", hint=f"use {', '.join(CALLS)}")

    def here(name: str, wanted: Platform | None) -> Image:
        return engine.resolve(name, wanted, pull="never")

    (context, stream), (file, other) = map(_divided, origins)
    with load(engine.store, context, file, stdin=stream or other) as inputs:
        return look(method, inputs, options, here)


def _divided(origin: Origin) -> tuple[str, Reader | None]:
    """A path, or "-" and the stream that it stands for."""
    return (os.fspath(origin), None) if isinstance(origin, str | os.PathLike) else ("-", origin)


def _line(inputs: Inputs, error: DockerfileError) -> str:
    """The line of the Dockerfile with the fault; "" for another file."""
    lines = inputs.dockerfile.split("\n")
    known = error.file == inputs.name and 1 <= error.line <= len(lines)
    return lines[error.line - 1].rstrip("\r") if known else ""
