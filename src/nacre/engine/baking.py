"""Bake files: where they are found, what they say together, and what their builds ask of this machine."""

from __future__ import annotations

import os
from contextlib import ExitStack
from itertools import islice

from ..grammars.bake import compose, hcl, substitution
from ..grammars.bake.definition import Definition, add_bodies
from ..grammars.bake.plan import BakePlan, is_folder, resolve
from ..grammars.bake.values import BadValue
from ..grammars.dockerfile.gitsource import is_git, within
from ..words.arguments import checked
from ..words.errors import ContentError, InvalidDocument, NotFound, Unsupported, UsageError
from ..words.oci import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from ..grammars.bake.hcl import HclBody
    from ..words.progress import Progress
    from . import Built, Engine
    from .archives import Origin
    from .targets import BakeTarget

DEFAULT = (
    "compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml", "docker-bake.json",
    "docker-bake.hcl", "docker-bake.override.json", "docker-bake.override.hcl",
)  # fmt: skip
"""Files that are read where none is named, those that are there, the later over the earlier."""

_HERE = "cwd://"
_WEB = ("http://", "https://")


class BakeFiles:
    """Bake files, `engine.bake`: `define` reads them, `plan` says what `build` is to be asked for."""

    def __init__(self, engine: Engine, built: Callable[..., Built]) -> None:
        self._engine, self._built = engine, built

    @checked
    def build(
        self, targets: Sequence[BakeTarget], *, progress: Progress | None = None
    ) -> dict[str, Built]:  # fmt: skip
        """Build targets side by side, each after those that it is made from; what each has made, by name.

        What they have in common is done once. Raises what the first failure is, as `Engine.build` does, with
        the name of the target; the others are ended then, and none of the images has got a name.
        """
        from .building import agents_of, completed
        from .targets import TargetBuilder

        engine = self._engine
        with ExitStack() as stack:
            ready = [one.replace(options=stack.enter_context(agents_of(one.options))) for one in targets]
            results = iter(
                engine.results_inside(lambda store: TargetBuilder(engine, ready, progress).build())
            )
            counts = [max(len(one.options.platforms), 1) for one in ready]
            made = [list(islice(results, count)) for count in counts]
        return {
            one.name: self._built(*completed(engine, found, one.options.tags))
            for one, found in zip(ready, made, strict=True)
        }

    @checked
    def define(
        self, files: Sequence[Origin] = (), variables: Mapping[str, str] | None = None, *, remote: str = "",
        context: str = "", progress: Progress | None = None,
    ) -> Definition:  # fmt: skip
        """What files say together: paths, or files opened for bytes; none: those of this folder.

        `remote` is a repository or a URL that has the files, but for those named `cwd://…`; what they build
        is there as well. `context` is what BAKE_CMD_CONTEXT then is: this folder, or another URL.
        `variables` are what an environment would be. Raises NotFound, InvalidDocument, Unsupported.
        """
        environment, found = variables or {}, Definition()
        read = self._remote(found, remote, files, environment, progress) if remote else _local(files)
        if not read:
            raise NotFound("couldn't find a bake definition", hint=f"write {DEFAULT[5]}, or use -f")
        composed, bodies = _divided(read)
        if composed:
            compose.add_compose(found, composed, {**_variables(environment), **environment})
        given = {
            "BAKE_CMD_CONTEXT": context or (_HERE if remote else "."),
            "BAKE_LOCAL_PLATFORM": str(Platform.host()),
        }
        add_bodies(found, bodies, environment, given)
        return found

    @checked
    def plan(
        self, definition: Definition, targets: Sequence[str] = (), overrides: Sequence[str] = ()
    ) -> BakePlan:  # fmt: skip
        """What is to be built for targets and groups, with `TARGET.KEY=VALUE` as of `--set`.

        Raises NotFound, UsageError, InvalidDocument, Unsupported.
        """
        pairs = [each.partition("=") for each in overrides]
        made = resolve(definition, targets, [(key, value if sign else None) for key, sign, value in pairs])
        for fields in made.targets.values():
            _check(fields)
            if definition.remote:
                _move(fields, definition.remote)
            _normalize(fields)
        return made

    def _remote(
        self, found: Definition, url: str, files: Sequence[Origin], environment: Mapping[str, str],
        progress: Progress | None,
    ) -> list[tuple[str, bytes]]:  # fmt: skip
        """Those that are there, then those of this folder."""
        from .targets import fetched_files

        names = [os.fspath(file) for file in files if isinstance(file, str | os.PathLike)]
        if len(names) < len(files):
            raise UsageError(f"{url} and standard input cannot both have the bake file")
        away = [name for name in names if not name.startswith(_HERE)]
        fetched = fetched_files(self._engine, url, (away, DEFAULT), git_secrets(url, environment), progress)
        found.remote = url if fetched.has_folder else ""
        here = [name.removeprefix(_HERE) for name in names if name.startswith(_HERE)]
        return [*fetched.read, *map(_read, here)]

    @checked
    def check(
        self, plan: BakePlan, allowed: Sequence[str] = (), overrides: Sequence[str] = (), *,
        any_path: bool = False,
    ) -> None:  # fmt: skip
        """Raise Unsupported if a target wants more than its folder, and neither of both lists allows it."""
        from .privileges import Privileges

        Privileges(allowed, overrides, any_path=any_path).check(plan.targets)


def is_remote(name: str) -> bool:
    """Whether an argument of bake is where its files are, and no target."""
    return is_git(name) or name.startswith(_WEB)


def git_secrets(url: str, environment: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    """The token and the header for a repository that the environment has. Source: buildx, bake/bake.go."""
    names = ("GIT_AUTH_TOKEN", "GIT_AUTH_HEADER") if is_git(url) else ()
    found = [(name, environment.get(f"BUILDX_BAKE_{name}", "")) for name in names]
    return tuple((name, os.fsencode(value)) for name, value in found if value)


def _move(fields: dict[str, Any], remote: str) -> None:
    """Folders are those of the repository, but for `cwd://…`."""
    fields["context"] = _there(fields["context"], remote)
    if "contexts" in fields:
        fields["contexts"] = {name: _there(value, remote) for name, value in fields["contexts"].items()}


def _there(source: str, remote: str) -> str:
    if not is_folder(source) or source.startswith(_HERE):
        return source
    if is_git(remote):
        return within(remote, source)
    if os.path.normpath(source) != ".":
        raise Unsupported(f"{source}: a folder of an archive cannot be a context", hint="use the archive, .")
    return remote


def _check(fields: Mapping[str, Any]) -> None:
    for name in ("context", "dockerfile"):
        if fields[name] == "-":
            raise UsageError(f"{name} from stdin not allowed in bake")


def _normalize(fields: dict[str, Any]) -> None:
    fields["context"] = _normal(fields["context"])
    if "contexts" in fields:
        fields["contexts"] = {name: _normal(value) for name, value in fields["contexts"].items()}


def _normal(source: str) -> str:
    """The shortest spelling of a folder."""
    return os.path.normpath(source.removeprefix(_HERE)) if is_folder(source) else source


# files


def _local(files: Sequence[Origin]) -> list[tuple[str, bytes]]:
    if not files:
        return list(_found())
    return [_read(one.removeprefix(_HERE) if isinstance(one, str) else one) for one in files]


def _found() -> Iterator[tuple[str, bytes]]:
    for name in DEFAULT:
        if os.path.exists(name):
            yield _read(name)


def _read(file: Origin) -> tuple[str, bytes]:
    """The name and the content, which may be one byte more than is allowed. Raises NotFound."""
    if not isinstance(file, str | os.PathLike):
        return "-", file.read(hcl.MOST + 1)
    try:
        with open(file, "rb") as stream:
            return os.fspath(file), stream.read(hcl.MOST + 1)
    except OSError as error:
        raise NotFound(f"cannot read {os.fspath(file)}: {(error.strerror or '').lower()}") from None


def _divided(read: Sequence[tuple[str, bytes]]) -> tuple[list[tuple[str, bytes]], list[HclBody]]:
    """The compose files, and what the others say."""
    composed: list[tuple[str, bytes]] = []
    bodies: list[HclBody] = []
    for name, data in read:
        body = None if compose.is_compose(name) else _parsed(name, data)
        if body is None:
            composed.append((name, data))
        else:
            bodies.append(body)
    return composed, bodies


def _parsed(name: str, data: bytes) -> HclBody | None:
    """None for a compose file under another name: what is no HCL and has services."""
    try:
        return hcl.parse(data, name)
    except (ContentError, Unsupported):
        if name.endswith((".hcl", ".json")) or not _has_services(name, data):
            raise
        return None


def _has_services(name: str, data: bytes) -> bool:
    try:
        document = compose.load(data, name)
    except (ContentError, Unsupported):
        return False
    return isinstance(document, dict) and "services" in document


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Those of `.env` in this folder. Raises InvalidDocument."""
    try:
        with open(".env", encoding="utf-8") as file:
            return substitution.read_env(file.read(hcl.MOST), environment)
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, BadValue) as error:
        raise InvalidDocument(f"cannot read .env: {error}") from None
