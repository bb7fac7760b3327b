"""What a project wants, from its files: requirements or a lock, its own packages, its indexes."""

from __future__ import annotations

import posixpath

from ....grammars.python.pipconfig import USUAL
from ....grammars.python.project import NAME, BuildSystem, Project, ProjectSettings
from ....grammars.python.requirementsfile import RequirementsFile, read_requirements
from ....ground.files import Root
from ....words.digest import sha256
from ....words.errors import NotFound, UsageError
from ....words.value import Value
from ..projects import LOCKS, REQUIREMENTS, is_there
from .logins import IndexSource
from .pins import name_of
from .requirements import Requirements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..builder import BuildOptions
    from ..inputs import Inputs
    from .readprojects import ReadProjects

_MOST = 64 << 20
_MEMBERS = 1000


class ProjectPlan(Value):
    """A project as it is to be built. `lock` is the name of a lock file and `lock_data` what is in it.

    `local` are (name, folder) of packages that lie in the context; `inputs` a digest of all that was read.
    `unnamed` are folders of wanted packages whose name only a build tells.
    """

    project: Project
    settings: ProjectSettings
    wishes: Requirements
    sources: tuple[IndexSource, ...]
    local: tuple[tuple[str, str], ...]
    projects: Mapping[str, Project]
    lock: str = ""
    lock_data: bytes = b""
    inputs: str = ""
    unnamed: tuple[str, ...] = ()

    @property
    def extras(self) -> tuple[str, ...]:
        """Extras of the project that are installed."""
        return self.settings.extras

    def project_of(self, folder: str) -> Project:
        """The project in a folder of the context. Raises UsageError."""
        if folder not in self.projects:
            raise UsageError(f"{folder} holds no {NAME}, so no package can be made of it")
        return self.projects[folder]


class _Files:
    """Files of the context, and a digest of those that were read."""

    def __init__(self, root: Root) -> None:
        self._root, self.digest = root, sha256()

    def read(self, name: str) -> bytes | None:
        """A file, links followed inside the context; None where there is none. Raises UsageError."""
        path = posixpath.normpath(name)
        if path.startswith(("../", "/")) or path == "..":
            raise UsageError(
                f"{name} is outside of the project", hint="build the folder above, or copy it there"
            )
        try:
            data = self._root.read(path, _MOST)
        except NotFound:
            return None
        self.digest.update(f"{path}\0{len(data)}\0".encode() + data)
        return data

    def text(self, name: str) -> str:
        """A text that must be there. Raises UsageError."""
        data = self.read(name)
        if data is None:
            raise UsageError(f"there is no file {name}")
        return data.decode("utf-8", "replace")


def plan_of(inputs: Inputs, options: BuildOptions, read: ReadProjects) -> ProjectPlan:
    """Read what the project says. Raises UsageError, Unsupported, TooLarge, StoreError."""
    with Root(inputs.folder) as root:
        files = _Files(root)
        data = files.read(NAME)
        project = read.of(data, NAME) if data is not None else Project()
        settings = _settings(project.settings, options)
        lock = next(((name, found) for name in LOCKS if (found := files.read(name)) is not None), ("", b""))
        wanted = _wanted(files, project, lock[0], options)
        if project.system is None and any(wish.folder == "." for wish in wanted.wishes):
            project = project.replace(system=BuildSystem(), dynamic=True)
        projects = dict(_projects(files, root, project, wanted, read))
        unnamed = tuple(_unnamed(projects, wanted))
        local = {one.name: folder for folder, one in projects.items() if folder != "." and one.name}
        local |= {name: posixpath.normpath(folder) for name, folder in project.folders}
        wishes = Requirements((), folders=tuple(local.items()))
        if not lock[0]:
            wishes = _wishes(project, settings, wanted, local)
        return ProjectPlan(
            project, settings, wishes, _sources(project, wanted, options),
            tuple(local.items()), projects, *lock, files.digest.hexdigest(), unnamed,
        )  # fmt: skip


def _unnamed(projects: Mapping[str, Project], wanted: RequirementsFile) -> Iterator[str]:
    """Folders that requirements name and whose pyproject.toml, if any, names no package.

    Raises UsageError for one that is no project.
    """
    for folder in dict.fromkeys(posixpath.normpath(wish.folder) for wish in wanted.wishes if wish.folder):
        if folder not in projects:
            raise UsageError(f"{REQUIREMENTS} names {folder}, which holds no {NAME} and no setup.py")
        if folder != "." and not projects[folder].name:
            yield folder


def _settings(settings: ProjectSettings, options: BuildOptions) -> ProjectSettings:
    return settings.replace(
        base=options.base or settings.base or "host:python3",
        extras=(*settings.extras, *options.extras), groups=(*settings.groups, *options.groups),
    )  # fmt: skip


def _wanted(files: _Files, project: Project, lock: str, options: BuildOptions) -> RequirementsFile:
    """requirements.txt, where pyproject.toml and lock files say nothing of requirements."""
    if lock or project.name:
        return RequirementsFile()
    if files.read(REQUIREMENTS) is None:
        return RequirementsFile()
    return read_requirements(REQUIREMENTS, files.text, dict(options.indexes.variables))


def _wishes(
    project: Project, settings: ProjectSettings, wanted: RequirementsFile, local: Mapping[str, str]
) -> Requirements:
    texts = [wish.text for wish in wanted.wishes if wish.text]
    named = {folder: name for name, folder in local.items()}
    texts += [named[wish.folder] for wish in wanted.wishes if wish.folder in named and wish.folder != "."]
    texts += project.wanted(settings.extras, settings.groups)
    hashes = [(name_of(wish.text), wish.hashes) for wish in wanted.wishes if wish.hashes and wish.text]
    return Requirements(
        tuple(texts),
        wanted.constraints,
        tuple(hashes),
        tuple(local.items()),
        wanted.require_hashes,
        wanted.pre,
    )


def _sources(project: Project, wanted: RequirementsFile, options: BuildOptions) -> tuple[IndexSource, ...]:
    """Indexes in the order in which they are asked: the project's own first, a default last."""
    own = [IndexSource(url, name) for name, url, default in project.indexes if not default]
    own += [IndexSource(url) for url in wanted.extra]
    default = [IndexSource(url, name) for name, url, is_default in project.indexes if is_default]
    default += [IndexSource(wanted.index)] if wanted.index else []
    given = [IndexSource(url) for url in options.indexes.urls or (USUAL,)]
    if default:
        given = [*given[:-1], *default]
    return tuple(dict.fromkeys([*own, *given]))


def _projects(
    files: _Files, root: Root, project: Project, wanted: RequirementsFile, read: ReadProjects
) -> Iterator[tuple[str, Project]]:
    """Projects by their folder: this one, members of its workspace, and what it names by a path."""
    yield ".", project
    todo = [*_members(root, project), *(folder for _, folder in project.folders)]
    todo += [wish.folder for wish in wanted.wishes if wish.folder]
    seen = {"."}
    while todo and len(seen) < _MEMBERS:
        folder = posixpath.normpath(todo.pop(0))
        if folder in seen:
            continue
        seen.add(folder)
        data = files.read(f"{folder}/{NAME}")
        if data is None:
            if is_there(root, f"{folder}/setup.py"):
                yield folder, Project(system=BuildSystem(), dynamic=True)
            continue
        found = read.of(data, f"{folder}/{NAME}")
        yield folder, found
        todo += [posixpath.join(folder, path) for _, path in found.folders]


def _members(root: Root, project: Project) -> list[str]:
    """The folders that the patterns of a workspace match."""
    from ....grammars.dockerfile.glob import matcher

    found: list[str] = []
    for pattern in project.members:
        fits = matcher(posixpath.normpath(pattern).split("/")[-1])
        above = posixpath.dirname(posixpath.normpath(pattern))
        found += [posixpath.join(above, name) for name in _names(root, above or ".") if fits(name)]
    return found


def _names(root: Root, folder: str) -> list[str]:
    import os

    try:
        fd = root.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)
