"""Files pyproject.toml that were read before: a file of the store keeps what they say.

To read one takes a parser and `packaging`, which cost more than all else that an unchanged build does. What
is kept goes by the bytes of the file; where it is gone, the file is read again.
"""

from __future__ import annotations

import packaging

from ....grammars.python.project import BuildSystem, Project, ProjectSettings, read_project
from ....stores import caches
from ....words.digest import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FORM = 1
"""Counts changes of what is read out of a file."""
_KIND = "projects-"
_FILE = f"{_KIND}{_FORM}"
_MOST = 200
_FIELDS = repr(
    (packaging.__version__, Project._fields, BuildSystem._fields, ProjectSettings._fields)
).encode()


class ReadProjects:
    """Projects by the bytes of their files; `tables` is the folder of the table. `save` keeps new ones."""

    def __init__(self, tables: str) -> None:
        self._tables = tables
        self._known: dict[bytes, tuple[Any, ...]] = caches.kept_rows(tables, _FILE)
        self._is_new = False

    def of(self, data: bytes, where: str) -> Project:
        """The project that a file describes; `where` it is. Raises UsageError."""
        key = sha256(_FIELDS + data).digest()
        if key in self._known:
            return _project_of(self._known[key])
        found = read_project(data, where)
        self._known[key] = _row_of(found)
        self._is_new = True
        return found

    def save(self) -> None:
        """Write the table, if there is something new."""
        if self._is_new:
            caches.keep_rows(self._tables, _FILE, self._known, kind=_KIND, files=1, most=_MOST)


def _row_of(project: Project) -> tuple[Any, ...]:
    system = project.system._astuple() if project.system else None
    plain = project.replace(system=None, settings=ProjectSettings())._astuple()[:-1]
    return plain, system, project.settings._astuple()


def _project_of(row: tuple[Any, ...]) -> Project:
    plain, system, settings = row
    project = Project(*plain)
    return project.replace(
        system=BuildSystem(*system) if system else None, settings=ProjectSettings(*settings)
    )
