"""Lock files into the packages that one target gets: uv.lock, pylock.toml (PEP 751), poetry.lock.

A lock is for every platform: what is installed is found by walking from the project along requirements
whose markers hold (uv, Poetry), or is chosen by the rules of PEP 751. Hashes of a lock must hold.
"""

from __future__ import annotations

import posixpath
from urllib.parse import urljoin

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import Pylock, PylockSelectError, PylockValidationError

from ...words.errors import InvalidDocument, Unsupported, UsageError
from ...words.value import Value
from ..toml import read_toml
from .files import IndexFile, name_in
from .names import canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from .project import Project
    from .target import Target

    Table = Mapping[str, Any]


class Locked(Value):
    """A package of a lock: its `files`, or a `folder`. Without URLs its `index` ("" the usual) has them."""

    name: str
    version: str
    files: tuple[IndexFile, ...] = ()
    folder: str = ""
    index: str = ""


class LockSelection(Value):
    """What is to be installed of a lock."""

    project: Project
    target: Target
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def read_lock(name: str, data: bytes, wanted: LockSelection) -> list[Locked]:
    """The packages to install, by name. Raises InvalidDocument, Unsupported, UsageError."""
    try:
        document = read_toml(data.decode())
    except ValueError as error:
        raise InvalidDocument(f"{name} is not TOML: {error}") from None
    readers: dict[str, Callable[[Table, LockSelection], list[Locked]]] = {
        "uv.lock": _uv,
        "poetry.lock": _poetry,
    }
    try:
        found = readers.get(name, _pylock)(document, wanted)
    except (KeyError, TypeError, AttributeError, ValueError, InvalidMarker) as error:
        raise InvalidDocument(f"{name} is not as its format says: {error}") from None
    return sorted(found, key=lambda package: package.name)


# --- PEP 751


def _pylock(document: Table, wanted: LockSelection) -> list[Locked]:
    try:
        chosen = Pylock.from_dict(document).select(
            environment=wanted.target.environment, tags=wanted.target.tags, extras=wanted.extras,
            dependency_groups=wanted.groups or None,
        )  # fmt: skip
        return [_of_pylock(package, what) for package, what in chosen]
    except PylockSelectError as error:
        raise UsageError(f"the lock file does not fit: {error}") from None
    except PylockValidationError as error:
        raise ValueError(str(error)) from None


def _of_pylock(package: Any, what: Any) -> Locked:
    name, version = str(package.name), str(package.version or "")
    if hasattr(what, "commit_id"):
        raise _repository(name)
    if hasattr(what, "editable"):
        return Locked(name, version, folder=posixpath.join(what.path, what.subdirectory or ""))
    where = what.url or what.path
    file_name = getattr(what, "filename", "") or getattr(what, "name", "") or name_in(where)
    hashes = tuple(sorted((key, str(value).lower()) for key, value in what.hashes.items()))
    return Locked(name, version, (_verified(IndexFile(file_name, where, hashes), name),))


# --- uv


def _uv(document: Table, wanted: LockSelection) -> list[Locked]:
    packages = document.get("package", [])
    root = next((row for row in packages if _is_root(row, wanted.project.name)), None)
    if root is None:
        raise UsageError(f"uv.lock does not know the project {wanted.project.name!r}", hint="run: uv lock")
    _check_fresh(root, wanted.project)
    tables = [root.get("dependencies", ())]
    tables += [_part(root, "optional-dependencies", name, "extra") for name in wanted.extras]
    tables += [_part(root, "dev-dependencies", name, "group") for name in wanted.groups]
    walk = _LockWalk(packages, wanted.target)
    walk.go(edge for table in tables for edge in table)
    return [_of_uv(row) for row in walk.found if row is not root and "virtual" not in row["source"]]


def _is_root(row: Table, name: str) -> bool:
    source = row.get("source", {})
    here = "." in (source.get("virtual"), source.get("editable"), source.get("directory"))
    return here and canonical(row["name"]) == name


def _check_fresh(root: Table, project: Project) -> None:
    """As `uv sync --locked`: a lock that was made of other requirements would install something else."""
    from packaging.requirements import Requirement

    if project.dynamic or "metadata" not in root:
        return
    locked = {
        (canonical(row["name"]), _norm(row.get("specifier", "")))
        for row in root["metadata"].get("requires-dist", ()) if "extra ==" not in row.get("marker", "")
    }  # fmt: skip
    said = {
        (canonical(one.name), _norm(str(one.specifier))) for one in map(Requirement, project.dependencies)
    }
    if changed := sorted(name for name, _ in locked ^ said):
        raise UsageError(
            f"uv.lock is older than pyproject.toml: {changed[0]} is not as it was locked", hint="run: uv lock"
        )


def _norm(specifier: str) -> str:
    return ",".join(sorted(part.strip() for part in specifier.split(",")))


def _part(root: Table, table: str, name: str, kind: str) -> Sequence[Table]:
    found = root.get(table, {}).get(canonical(name))
    if found is None:
        raise UsageError(f"uv.lock has no {kind} {name!r}", hint="run: uv lock")
    return found  # type: ignore[no-any-return]


class _LockWalk:
    """Packages reached along edges whose markers hold."""

    def __init__(self, packages: Sequence[Table], target: Target) -> None:
        self._rows: dict[str, list[Table]] = {}
        for row in packages:
            self._rows.setdefault(canonical(row["name"]), []).append(row)
        self._environment = {**target.environment, "extra": ""}
        self._seen: set[tuple[int, str]] = set()
        self.found: list[Table] = []

    def go(self, edges: Iterator[Table]) -> None:
        todo = list(edges)
        while todo:
            edge = todo.pop()
            if not _holds(edge.get("marker", ""), self._environment):
                continue
            row = self._row(edge)
            for extra in ("", *edge.get("extra", ())):
                if (id(row), extra) not in self._seen:
                    self._seen.add((id(row), extra))
                    todo += _edges(row, extra)
            if all(row is not other for other in self.found):
                self.found.append(row)

    def _row(self, edge: Table) -> Table:
        rows = self._rows.get(canonical(edge["name"]), [])
        fits = [
            row
            for row in rows
            if all(edge[key] == row.get(key) for key in ("version", "source") if key in edge)
        ]
        if len(fits) != 1:
            raise ValueError(f"{edge['name']} is locked {len(fits)} times")
        return fits[0]


def _edges(row: Table, extra: str) -> Sequence[Table]:
    if not extra:
        return row.get("dependencies", ())  # type: ignore[no-any-return]
    return row.get("optional-dependencies", {}).get(extra, ())  # type: ignore[no-any-return]


def _holds(marker: str, environment: Mapping[str, Any]) -> bool:
    return not marker or Marker(marker).evaluate(dict(environment))


def _of_uv(row: Table) -> Locked:
    source, name, version = row["source"], canonical(row["name"]), str(row.get("version", ""))
    for kind in ("editable", "directory"):
        if kind in source:
            return Locked(name, version, folder=str(source[kind]))
    if "git" in source:
        raise _repository(name)
    base = str(source.get("registry", ""))
    rows = [*row.get("wheels", ()), *([row["sdist"]] if "sdist" in row else ())]
    files = tuple(_verified(_uv_file(one, base, source), name) for one in rows)
    return Locked(name, version, files)


def _uv_file(row: Table, base: str, source: Table) -> IndexFile:
    """A registry may be a folder, and then its files have paths in there."""
    where = str(
        row.get("url") or source.get("url") or row.get("path") or source.get("path") or row["filename"]
    )
    if "path" in row and base and not base.startswith(("http://", "https://")):
        where = posixpath.join(base.removeprefix("file://"), where)
    algorithm, _, value = str(row.get("hash", "")).partition(":")
    return IndexFile(
        name_in(where), where, ((algorithm, value.lower()),) if value else (), size=row.get("size", 0)
    )


# --- Poetry


def _poetry(document: Table, wanted: LockSelection) -> list[Locked]:
    from packaging.requirements import Requirement

    packages = document.get("package", [])
    edges = [
        {"name": one.name, "marker": str(one.marker or ""), "extra": sorted(one.extras)}
        for one in map(Requirement, wanted.project.wanted(wanted.extras, wanted.groups))
    ]  # fmt: skip
    walk = _LockWalk([_as_uv(row) for row in packages], wanted.target)
    walk.go(iter(edges))
    return [_of_poetry(row) for row in walk.found]


def _as_uv(row: Table) -> dict[str, Any]:
    """A package whose requirements are edges, those of its extras apart."""
    plain: list[dict[str, Any]] = []
    optional: dict[str, list[dict[str, Any]]] = {}
    for name, rows in row.get("dependencies", {}).items():
        for one in rows if isinstance(rows, list) else [rows]:
            one = {"version": one} if isinstance(one, str) else one
            edge = {"name": name, "marker": one.get("markers", ""), "extra": one.get("extras", ())}
            extras = _extras_in(edge["marker"])
            for extra in extras:
                optional.setdefault(extra, []).append(edge | {"marker": ""})
            if not extras and not one.get("optional"):
                plain.append(edge)
    return {**row, "dependencies": plain, "optional-dependencies": optional, "source": row.get("source", {})}


def _extras_in(marker: str) -> list[str]:
    parts = marker.split("extra == ")[1:]
    return [part.strip()[1:].partition(part.strip()[0])[0] for part in parts]


def _of_poetry(row: Table) -> Locked:
    source, name, version = row["source"], canonical(row["name"]), str(row["version"])
    if source.get("type") == "directory":
        return Locked(name, version, folder=str(source["url"]))
    if source.get("type") == "git":
        raise _repository(name)
    where = str(source.get("url", ""))
    files = tuple(_verified(_poetry_file(one, source), name) for one in row.get("files", ()))
    return Locked(name, version, files, index=where if source.get("type") == "legacy" else "")


def _poetry_file(row: Table, source: Table) -> IndexFile:
    algorithm, _, value = str(row["hash"]).partition(":")
    where = str(source["url"]) if source.get("type") in ("url", "file") else ""
    return IndexFile(str(row["file"]), urljoin("", where), ((algorithm, value.lower()),))


def _verified(file: IndexFile, name: str) -> IndexFile:
    if not file.strong and not file.url.startswith((".", "/")):
        raise ValueError(f"{file.name[:100]} of {name} has no hash")
    return file


def _repository(name: str) -> Unsupported:
    return Unsupported(
        f"{name} is locked to a repository, which is not supported", hint="lock a released version"
    )
