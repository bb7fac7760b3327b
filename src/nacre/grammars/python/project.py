"""pyproject.toml: what a project is, needs and starts, in the words of PEP 621, uv and Poetry.

`[tool.nacre]` says what the image is to be: see `ProjectSettings`.
"""

from __future__ import annotations

import posixpath
import re

from ...words.errors import UsageError
from ...words.lines import lines
from ...words.value import Value
from .names import canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Table = Mapping[str, Any]

NAME = "pyproject.toml"
_DYNAMIC = {"dependencies", "optional-dependencies"}


class ProjectSettings(Value):
    """`[tool.nacre]`. `entrypoint` and `cmd` None: found out. `files` go to the working directory.

    `user` "": that of the base, or a new one that is not root. `env` are pairs; `compile`: whether byte code
    is written.
    """

    base: str = ""
    user: str = ""
    workdir: str = "/app"
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    expose: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    compile: bool = True


class BuildSystem(Value):
    """What makes a wheel of a project (PEP 517)."""

    requires: tuple[str, ...] = ("setuptools>=40.8.0",)
    backend: str = "setuptools.build_meta:__legacy__"
    path: tuple[str, ...] = ()


class Project(Value):
    """A project. `system` None: there is nothing to build, its files are the application.

    `folders` are (name, path) of what comes from a folder beside it, `members` patterns of a workspace;
    `dynamic`: its requirements are known only when it is built.
    """

    name: str = ""
    version: str = ""
    requires_python: str = ""
    dependencies: tuple[str, ...] = ()
    extras: tuple[tuple[str, tuple[str, ...]], ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()
    system: BuildSystem | None = None
    folders: tuple[tuple[str, str], ...] = ()
    members: tuple[str, ...] = ()
    indexes: tuple[tuple[str, str, bool], ...] = ()
    dynamic: bool = False
    settings: ProjectSettings = ProjectSettings()

    def wanted(self, extras: Sequence[str], groups: Sequence[str]) -> list[str]:
        """Its requirements, with those of extras and groups. Raises UsageError for an unknown one."""
        found = list(self.dependencies)
        for kind, names, tables in (("extra", extras, self.extras), ("group", groups, self.groups)):
            known = {canonical(name): wishes for name, wishes in tables}
            for name in names:
                if kind == "extra" and self.dynamic and canonical(name) not in known:
                    continue
                if canonical(name) not in known:
                    raise UsageError(f"{NAME} has no {kind} {name!r}", hint=_close(name, [*known]))
                found += known[canonical(name)]
        return found


def read_project(data: bytes, where: str = NAME) -> Project:
    """The project that a pyproject.toml describes. Raises UsageError."""
    from ..toml import read_toml

    try:
        document = read_toml(data.decode())
    except ValueError as error:
        raise UsageError(f"{where} is not TOML: {error}") from None
    try:
        return _project(document, where)
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        raise UsageError(f"{where} is not as the specification says: {error}") from None


def _project(document: Table, where: str) -> Project:
    table, tools = document.get("project", {}), document.get("tool", {})
    uv, poetry = tools.get("uv", {}), tools.get("poetry", {})
    settings = _settings(tools.get("nacre", {}), where)
    sources = {name: row for name, row in uv.get("sources", {}).items() if isinstance(row, dict)}
    about = _of_poetry(poetry) if poetry and not table.get("name") else _of_table(table)
    own = dict(about.folders)
    own |= {canonical(name): str(row["path"]) for name, row in sources.items() if "path" in row}
    return about.replace(
        system=_system(document, uv, poetry),
        groups=(*about.groups, *_groups(document.get("dependency-groups", {}))),
        folders=tuple(own.items()),
        members=tuple(map(str, uv.get("workspace", {}).get("members", ()))),
        indexes=(*_uv_indexes(uv), *_poetry_indexes(poetry)),
        settings=settings,
    )  # fmt: skip


def _of_table(table: Table) -> Project:
    return Project(
        canonical(table.get("name", "")), str(table.get("version", "")),
        str(table.get("requires-python", "")), _checked(table.get("dependencies", ())),
        tuple((name, _checked(wishes)) for name, wishes in table.get("optional-dependencies", {}).items()),
        scripts=tuple((str(name), str(value)) for name, value in table.get("scripts", {}).items()),
        dynamic=not table or not _DYNAMIC.isdisjoint(table.get("dynamic", ())),
    )  # fmt: skip


def _of_poetry(table: Table) -> Project:
    needed = dict(table.get("dependencies", {}))
    python = needed.pop("python", "")
    groups = {name: group.get("dependencies", {}) for name, group in table.get("group", {}).items()}
    if "dev-dependencies" in table:
        groups["dev"] = table["dev-dependencies"]
    optional = {canonical(n) for n, row in needed.items() if isinstance(row, dict) and row.get("optional")}
    wishes = {canonical(name): _poetry_wish(name, row) for name, row in needed.items()}
    return Project(
        canonical(table.get("name", "")), str(table.get("version", "")),
        _poetry_range(str(python)) if python else "",
        tuple(text for name, text in wishes.items() if name not in optional),
        tuple((name, tuple(wishes[canonical(one)] for one in names))
              for name, names in table.get("extras", {}).items()),
        tuple((name, tuple(_poetry_wish(*item) for item in rows.items())) for name, rows in groups.items()),
        tuple((str(name), str(value)) for name, value in table.get("scripts", {}).items()),
        folders=tuple((canonical(name), str(row["path"])) for name, row in needed.items()
                      if isinstance(row, dict) and "path" in row),
    )  # fmt: skip


def _poetry_wish(name: str, row: Any) -> str:
    row = {"version": row} if isinstance(row, str) else row[0] if isinstance(row, list) else row
    extras = f"[{','.join(row['extras'])}]" if row.get("extras") else ""
    marker = f"; {row['markers']}" if row.get("markers") else ""
    return f"{name}{extras}{_poetry_range(str(row.get('version', '*')))}{marker}"


def _poetry_range(text: str) -> str:
    """A range in Poetry's words, as PEP 440 has it: ^1.2 is >=1.2,<2, and ~1.2 is >=1.2,<1.3."""
    return ",".join(filter(None, (_poetry_part(part.strip()) for part in text.split(","))))


def _poetry_part(part: str) -> str:
    if part == "*" or not part:
        return ""
    if part[0] not in "^~" or part.startswith("~="):
        return part if part[0] in "<>=!~" else f"=={part}"
    numbers = [int(n) for n in re.findall(r"\d+", part.lstrip("^~").partition("-")[0])]
    at = (
        next((i for i, n in enumerate(numbers) if n), len(numbers) - 1)
        if part[0] == "^"
        else min(1, len(numbers) - 1)
    )
    above = [*numbers[:at], numbers[at] + 1]
    return f">={part[1:]},<{'.'.join(map(str, above))}"


def _checked(wishes: Any) -> tuple[str, ...]:
    from packaging.requirements import InvalidRequirement, Requirement

    if not isinstance(wishes, list | tuple):
        raise TypeError(f"{str(wishes)[:100]!r} is no list of requirements")
    for wish in wishes:
        try:
            Requirement(wish)
        except InvalidRequirement as error:
            raise ValueError(f"{wish!r}: {lines(str(error))[0]}") from None
    return tuple(wishes)


def _groups(tables: Table) -> list[tuple[str, tuple[str, ...]]]:
    from packaging.dependency_groups import resolve_dependency_groups

    return [(name, tuple(map(str, resolve_dependency_groups(tables, name)))) for name in tables]


def _system(document: Table, uv: Table, poetry: Table) -> BuildSystem | None:
    """None where a project says that it is no package, or nothing of how to build it."""
    table = document.get("build-system")
    if not uv.get("package", True) or not poetry.get("package-mode", True) or table is None:
        return None
    usual = BuildSystem()
    return BuildSystem(
        tuple(table.get("requires", usual.requires)), str(table.get("build-backend", usual.backend)),
        tuple(table.get("backend-path", ())),
    )  # fmt: skip


def _uv_indexes(uv: Table) -> list[tuple[str, str, bool]]:
    rows = uv.get("index", ())
    found = [(str(row.get("name", "")), str(row["url"]), bool(row.get("default"))) for row in rows]
    found += [("", str(url), False) for url in uv.get("extra-index-url", ())]
    return found + ([("", str(uv["index-url"]), True)] if "index-url" in uv else [])


def _poetry_indexes(poetry: Table) -> list[tuple[str, str, bool]]:
    rows = [row for row in poetry.get("source", ()) if "url" in row]
    return [(str(row.get("name", "")), str(row["url"]), row.get("priority") == "primary") for row in rows]


def _settings(table: Table, where: str) -> ProjectSettings:
    known = set(ProjectSettings._fields)
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: [tool.nacre] has no setting {key!r}", hint=_close(key, [*known]))
    made = {key: _setting(key, value, where) for key, value in table.items()}
    settings = ProjectSettings(**made)
    if not posixpath.isabs(settings.workdir):
        raise UsageError(f"{where}: workdir {settings.workdir!r} of [tool.nacre] is not absolute")
    return settings


def _setting(key: str, value: Any, where: str) -> Any:
    usual = getattr(ProjectSettings, key)
    if key in ("env", "labels"):
        if isinstance(value, dict) and all(isinstance(one, str) for one in value.values()):
            return tuple(value.items())
    elif isinstance(usual, bool | str):
        if type(value) is type(usual):
            return value
    elif isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return tuple(map(str, value))
    raise UsageError(f"{where}: {key} of [tool.nacre] must be {_KINDS.get(key, 'a list of texts')}")


_KINDS = {
    "env": "a table of texts", "labels": "a table of texts", "compile": "true or false", "base": "a text",
    "user": "a text", "workdir": "a text",
}  # fmt: skip


def _close(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, sorted(known), 1)
    return (
        f"did you mean {found[0]!r}?" if found else f"there are {', '.join(sorted(known))}" if known else ""
    )
