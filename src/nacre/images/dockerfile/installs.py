"""COPY of everything before the dependencies are installed: then each change of a file installs them again.

Only what can be told for sure is told: one command that installs what is listed in files at the top of the
context, and files that name nothing else of the context. Pure; `read` gives files of the context.
"""

from __future__ import annotations

import posixpath
import re

from ...grammars.dockerfile import instructions as dockerfile
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...grammars.dockerfile.instructions import CopyInstruction, RunInstruction, Stage

    Read = Callable[[str], bytes | None]


class _Installer(Value):
    """A tool: the command, the files that it must have and may have, and what says that it needs others.

    `first` is what replaces the command before the rest is copied, if that is another one; then it is run
    again after it.
    """

    command: str
    needed: tuple[str, ...]
    also: tuple[str, ...] = ()
    needs_more: str = r"(?!)"
    never_with: tuple[str, ...] = ()
    first: tuple[str, str] = ("", "")


_OPTIONS = r"(?: +--?\w[\w-]*(?:=\S+)?)*"
_WORDS = r"(?: +[\w=,.-]+)*"
_SCRIPTS = (
    r'"(?:workspaces|preinstall|install|postinstall|prepare|patchedDependencies|prisma)"\s*:'
    r'|"@prisma/client"|"(?:file|link|portal|workspace|patch):'
)
_NODE = ("pnpm-workspace.yaml", ".yarnrc.yml", "lerna.json", "patches", "prisma")
_INSTALLERS = (
    _Installer(
        rf"npm (?:ci|install|i|clean-install){_OPTIONS}", ("package.json",),
        ("package-lock.json", "npm-shrinkwrap.json", ".npmrc"), _SCRIPTS, _NODE,
    ),
    _Installer(
        rf"yarn(?: install)?{_OPTIONS}", ("package.json",), ("yarn.lock", ".npmrc", ".yarnrc"), _SCRIPTS,
        _NODE,
    ),
    _Installer(
        rf"pnpm (?:install|i){_OPTIONS}", ("package.json", "pnpm-lock.yaml"), (".npmrc",), _SCRIPTS, _NODE
    ),
    _Installer(
        rf"bundle(?: install)?{_OPTIONS}", ("Gemfile",), ("Gemfile.lock", ".ruby-version"),
        r"gemspec|path:|:path|eval_gemfile|File\.|Dir\.|require_relative",
    ),
    _Installer(
        rf"go mod download{_OPTIONS}", ("go.mod",), ("go.sum",), r"=>\s*\.{0,2}/", ("go.work", "vendor")
    ),
    _Installer(
        rf"poetry install{_WORDS}", ("pyproject.toml",), ("poetry.lock", "poetry.toml"), r"\bpath\s*=", (),
        ("poetry install", "poetry install --no-root"),
    ),
    _Installer(
        rf"uv sync{_WORDS}", ("pyproject.toml", "uv.lock"), (), r"\bpath\s*=|workspace", (),
        ("uv sync", "uv sync --no-install-project"),
    ),
)  # fmt: skip
_PIP = re.compile(
    r"(?:python3? -m )?pip3? install(?P<options>(?: +--?\w[\w-]*(?:=\S+)?)*) +(?:-r|--requirement)[ =]*"
    r"(?P<file>[\w./-]+)(?: +--?\w[\w-]*(?:=\S+)?)*"
)
_REQUIREMENT = re.compile(
    r"\s*(?:[A-Za-z0-9][^/\\]*|#.*|--?(?:i|index-url|extra-index-url)[ =].*|--hash.*)?\\?\s*"
)


_LONG = 1000
"""Characters of a line or a command that nobody writes by hand."""


class InstallOrder(Value):
    """A COPY of everything, the RUN that installs after it, and the lines to write instead of the COPY."""

    copy: CopyInstruction
    run: RunInstruction
    files: tuple[str, ...]
    instead: str


_HARMLESS = re.compile(
    r"(?:set|export|mkdir|apk|apt|apt-get|dnf|microdnf|yum|corepack|rm -rf /var)\b.*"
    r"|(?:addgroup|adduser|groupadd|useradd)\b.*"
    r"|(?:npm|yarn|pnpm|bundle|poetry) (?:config|global|set|(?:i|install|add) (?:-g|--global))\b.*"
    r"|gem install [\w .-]+|python3? -m venv [\w./-]+"
    r"|(?:python3? -m )?pip3? install(?: --?\w[\w-]*)* (?:pip|setuptools|wheel|poetry|uv)[ =<>~!\w.-]*"
)
"""What needs no file of the context, and may come before an install."""


def late_installs(stage: Stage, read: Read) -> Iterator[InstallOrder]:
    """Those of one stage, at most one."""
    workdir, copied, done, others = "/", None, set[str](), 0
    for item in stage.instructions:
        if isinstance(item, dockerfile.WorkdirInstruction):
            workdir, copied = posixpath.join(workdir, item.path), None
        elif isinstance(item, dockerfile.CopyInstruction):
            is_all = _takes_all(item) and _target(item, workdir) == posixpath.normpath(workdir)
            copied, others = (item, 0) if is_all else (copied, others + 1)
        elif isinstance(item, dockerfile.RunInstruction):
            found = _install(item, read)
            if found is None:
                copied = None
            elif found.is_install and copied is None:
                done.add(found.tool)
            elif found.is_install and copied:
                if found.tool not in done:
                    yield InstallOrder(copied, item, found.files, _instead(copied, found, others))
                return
            others += 1


def _takes_all(item: CopyInstruction) -> bool:
    plain = not (item.source_stage or item.excludes or item.contents or item.parents)
    return plain and [posixpath.normpath(source) for source in item.sources] in (["."], ["/"])


def _target(item: CopyInstruction, workdir: str) -> str:
    return posixpath.normpath(posixpath.join(workdir, item.destination))


class _Found(Value):
    """What a RUN installs: the tool, the files it needs, the command to write, and whether more follows.

    `is_install` is False for a RUN that does nothing but what is harmless.
    """

    tool: str = ""
    files: tuple[str, ...] = ()
    command: str = ""
    is_whole: bool = True

    @property
    def is_install(self) -> bool:
        return bool(self.tool)


def _install(run: RunInstruction, read: Read) -> _Found | None:
    """None for a RUN that may need anything."""
    if not run.command.shell or run.command.heredocs or run.mounts:
        return None
    commands, before = _commands(str(run.command.words[0])), list[str]()
    for at, command in enumerate(commands, 1):
        found = _pip(command, read) or _listed(command, read)
        if found is not None:
            files, first = found
            is_whole = at == len(commands) and first == command
            return _Found(command.split(" ")[0], files, " && ".join([*before, first]), is_whole)
        if not _HARMLESS.fullmatch(command):
            return None
        before += [] if command.startswith("set ") else [command]
    return _Found()


def _commands(text: str) -> list[str]:
    """The commands of a list, their white space made single; a strange one is left strange."""
    parts = (" ".join(part.split()) for part in re.split(r"&&|;|\n", text))
    strange = set("|$`(){}<>\"'\\")
    return [
        part if len(part) < _LONG and strange.isdisjoint(part) else "\0" for part in parts if part
    ]  # fmt: skip


def _pip(command: str, read: Read) -> tuple[tuple[str, ...], str] | None:
    found = _PIP.fullmatch(command)
    data = read(found["file"]) if found and ".." not in found["file"] else None
    if found is None or data is None or "/" in posixpath.normpath(found["file"]):
        return None
    lines = data.decode("utf-8", "replace").split("\n")
    if not all(len(line) < _LONG and _REQUIREMENT.fullmatch(line) and "file:" not in line for line in lines):
        return None
    return (posixpath.normpath(found["file"]),), command


def _listed(command: str, read: Read) -> tuple[tuple[str, ...], str] | None:
    for tool in _INSTALLERS:
        if not re.fullmatch(tool.command, command) or re.search(
            r" (?:-g|--global|--prefix|--cwd)\b", command
        ):
            continue
        needed = [read(name) for name in tool.needed]
        if None in needed or any(read(name) is not None for name in tool.never_with):
            return None
        if any(re.search(tool.needs_more, (data or b"").decode("utf-8", "replace")) for data in needed):
            return None
        files = (*tool.needed, *(name for name in tool.also if read(name) is not None))
        before, after = tool.first
        return files, command if after in command else command.replace(before, after, 1)
    return None


def _instead(copied: CopyInstruction, found: _Found, others: int) -> str:
    """The lines from the COPY to the RUN, and the COPY after it."""
    given = (("chown", copied.chown), ("chmod", copied.chmod))
    flags = "".join(f" --{name}={value}" for name, value in given if value)
    target = copied.destination.rstrip("/") + "/"
    lines = [f"COPY{flags} {' '.join(found.files)} {target}", *(["…"] if others else [])]
    lines += [f"RUN {found.command}", " ".join(copied.code.split())]
    return "\n".join([*lines, *([] if found.is_whole else ["RUN …"])])
