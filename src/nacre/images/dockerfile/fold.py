"""One instruction after the other: a state and an instruction give the next state and a step. Pure.

    State × Instruction ──advance──▶ State × Step        Step.action: what has to be done to files, if any

The state is the image's run configuration and the variables in sight; a step holds expanded values only,
so its action is all that a result depends on. Sources: Dockerfile reference; BuildKit's dockerfile2llb
(what counts as declared, how history reads).
"""

from __future__ import annotations

import posixpath

from ...grammars.dockerfile import instructions as dockerfile
from ...grammars.dockerfile.chmod import is_symbolic, octal
from ...grammars.dockerfile.expand import expand, expand_document, expand_words
from ...grammars.dockerfile.gitsource import GitSource, checksum_of, is_git, read_git
from ...grammars.dockerfile.syntax import parse_heredoc
from ...words.digest import Digest
from ...words.errors import InvalidName, UsageError
from ...words.quickjson import quoted
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ...grammars.dockerfile.instructions import Instruction
    from ...words.errors import DockerfileError
    from ...words.oci import ImageConfig
    from .plan import Plan

    Pairs = tuple[tuple[str, str], ...]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
_MARK = " # nacre"


class StageState(Value):
    """Where a stage stands. `run` is the `config` object of the image; `env` its variables and the ARGs.

    `args` are the ARGs declared, in order, as RUN's history shows them. `cmd_set`: CMD came in this
    stage, so ENTRYPOINT keeps it.
    """

    run: Mapping[str, Any]
    env: Mapping[str, str]
    args: tuple[str, ...] = ()
    author: str = ""
    cmd_set: bool = False

    @property
    def workdir(self) -> str:
        """The working directory, an absolute path."""
        return self.run.get("WorkingDir") or "/"

    @property
    def user(self) -> str:
        """`user[:group]`, or "" for root."""
        return self.run.get("User") or ""

    def changed(self, **fields: Any) -> StageState:
        """With fields of `run` replaced."""
        return self.replace(run={**self.run, **fields})


class RunAction(Value):
    """Run `argv`; `scripts` are (name, text) of files to be seen in /dev/pipes, `mounts` unparsed.

    `insecure`: with all privileges.
    """

    argv: tuple[str, ...]
    env: Pairs
    user: str
    workdir: str
    network: str = ""
    mounts: tuple[str, ...] = ()
    scripts: Pairs = ()
    insecure: bool = False


class CopyAction(Value):
    """Copy `sources` and `contents` (name, text) to `destination`, absolute, a final "/" kept.

    `origin` is what --from said ("" is the context). `mode` is that of --chmod, octal or symbolic.
    `unpack` says that local archives are unpacked (ADD), `unpack_remote` that those from URLs are;
    `checksum` is that of the URL; `repositories` are the sources that are in git, None for others.
    """

    sources: tuple[str, ...]
    contents: Pairs
    destination: str
    origin: str = ""
    chown: str = ""
    mode: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    unpack: bool = False
    unpack_remote: bool = False
    checksum: Digest | None = None
    repositories: tuple[GitSource | None, ...] = ()

    @property
    def is_independent(self) -> bool:
        """Whether what it makes is the same whatever is beneath: then names cannot be looked up there."""
        return self.link and all(part.isdecimal() for part in self.chown.split(":") if part)


class WorkdirAction(Value):
    """Make the folder `path` unless it exists, owned by `user`."""

    path: str
    user: str


class Step(Value):
    """One instruction, expanded. `created_by` is its line of history, "" for none."""

    instruction: Instruction
    created_by: str
    action: RunAction | CopyAction | WorkdirAction | None = None


def start(config: ImageConfig | None) -> StageState:
    """The state at a FROM: the base image's configuration, without its ONBUILD triggers."""
    run = dict(config.run) if config else {}
    run.pop("OnBuild", None)
    pairs = [str(item).partition("=") for item in run.get("Env") or []]
    if not any(name == "PATH" for name, _, _ in pairs):
        run["Env"] = [*(run.get("Env") or []), f"PATH={DEFAULT_PATH}"]
        pairs.append(("PATH", "=", DEFAULT_PATH))
    return StageState(run, {name: value for name, _, value in pairs}, author=_author(config))


def _author(config: ImageConfig | None) -> str:
    return str(config.raw.get("author") or "") if config else ""


def continued(state: StageState) -> StageState:
    """The state at a FROM that names an earlier stage: everything but triggers and CMD's mark stays."""
    run = {name: value for name, value in state.run.items() if name != "OnBuild"}
    return state.replace(run=run, cmd_set=False)


class Fold:
    """`advance` with what does not change during a build."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._file, self._escape = plan.file.file, plan.file.escape

    def advance(self, state: StageState, item: Instruction) -> tuple[StageState, Step]:
        """The next state and the step. Raises DockerfileError."""
        return _RULES[str(item.name)](self, state, item)

    def text(self, state: StageState, word: str, item: Instruction) -> str:
        """A word with its variables replaced."""
        return expand(word, state.env, escape=self._escape, file=self._file, at=item.name)

    def words(self, state: StageState, word: str, item: Instruction) -> list[str]:
        """The words that a word becomes."""
        return expand_words(word, state.env, escape=self._escape, file=self._file, at=item.name)

    def document(self, state: StageState, text: str, item: Instruction) -> str:
        """A here-document with its variables replaced."""
        return expand_document(text, state.env, file=self._file, at=item.name)

    def argument(self, state: StageState, name: str, default: str | None, item: Instruction) -> str | None:
        """The value of a declared ARG: given, its default, or that of the global ARG; None if unset."""
        if name in self._plan.arguments:
            return self._plan.arguments[name]
        if default is not None:
            return self.text(state, default, item)
        return self._plan.globals.get(name)


def unsupported(item: Instruction, what: str, hint: str = "", at: str = "") -> DockerfileError:
    """The refusal of what this version cannot do, at the token `at` or the whole instruction."""
    return item.error(f"{item.name} {what} is not supported", at, hint=hint)


def _env(fold: Fold, state: StageState, item: dockerfile.EnvInstruction) -> tuple[StageState, Step]:
    pairs = [(fold.text(state, name, item), fold.text(state, value, item)) for name, value in item.pairs]
    current = dict(str(entry).partition("=")[::2] for entry in state.run.get("Env") or [])
    current |= pairs
    listed = [f"{name}={value}" for name, value in current.items()]
    state = state.changed(Env=listed).replace(env={**state.env, **dict(pairs)})
    return state, Step(item, "ENV " + " ".join(f"{name}={value}" for name, value in pairs))


def _arg(fold: Fold, state: StageState, item: dockerfile.ArgInstruction) -> tuple[StageState, Step]:
    shown = []
    for token, default in item.declared:
        name = fold.text(state, token, item)
        value = fold.argument(state, name, default, item)
        if value is not None:
            state = state.replace(env={**state.env, name: value})
        args = state.args if name in state.args else (*state.args, name)
        state = state.replace(args=args)
        shown.append(name if value is None else f"{name}={value}")
    return state, Step(item, "ARG " + " ".join(shown))


def _label(fold: Fold, state: StageState, item: dockerfile.LabelInstruction) -> tuple[StageState, Step]:
    pairs = [(fold.text(state, name, item), fold.text(state, value, item)) for name, value in item.pairs]
    state = state.changed(Labels={**(state.run.get("Labels") or {}), **dict(pairs)})
    return state, Step(item, "LABEL " + " ".join(f"{name}={value}" for name, value in pairs))


def _maintainer(
    _fold: Fold, state: StageState, item: dockerfile.MaintainerInstruction
) -> tuple[StageState, Step]:
    return state.replace(author=str(item.text)), Step(item, f"MAINTAINER {item.text}")


def _run(fold: Fold, state: StageState, item: dockerfile.RunInstruction) -> tuple[StageState, Step]:
    for device in item.devices:
        raise unsupported(item, f"--device={device}", "a build gets no devices of this machine", device)
    argv, scripts = _run_words(state, item)
    if not argv[0]:
        raise item.error("RUN: the name of the program is empty", item.command.words[0])
    mounts = tuple(fold.text(state, mount, item) for mount in item.mounts)
    network = "" if item.network in ("", "default") else str(item.network)
    action = RunAction(
        argv, tuple(state.env.items()), state.user, state.workdir, network, mounts, scripts,
        item.security == "insecure",
    )  # fmt: skip
    declared = [f"{name}={state.env.get(name, '')}" for name in state.args]
    prefix = [f"|{len(declared)}", *declared] if declared else []
    return state, Step(item, " ".join(["RUN", *prefix, *argv]) + _MARK, action)


def _run_words(state: StageState, item: dockerfile.RunInstruction) -> tuple[tuple[str, ...], Pairs]:
    command = item.command
    scripts: Pairs = ()
    words: tuple[str, ...] = tuple(str(word) for word in command.words)
    if command.heredocs:
        words, scripts = _heredoc_words(words[0], item)
    return (_shell(state, words) if command.shell else words), scripts


def _heredoc_words(text: str, item: dockerfile.RunInstruction) -> tuple[tuple[str, ...], Pairs]:
    """One here-document alone is the script; others are put back for the shell to read."""
    docs = item.command.heredocs
    alone = parse_heredoc(text)
    if alone is None:
        bodies = "".join(f"\n{doc.text}{doc.name}" for doc in docs)
        return (text + bodies,), ()
    content = docs[0].content
    if not content.startswith("#!"):
        return (content,), ()
    return (f"/dev/pipes/{alone.name}",), ((alone.name, content),)


def _shell(state: StageState, words: tuple[str, ...]) -> tuple[str, ...]:
    return (*(state.run.get("Shell") or DEFAULT_SHELL), " ".join(words))


def _command(state: StageState, command: dockerfile.CommandLine) -> list[str]:
    words = tuple(str(word) for word in command.words)
    return list(_shell(state, words) if command.shell and words else words)


def _cmd(_fold: Fold, state: StageState, item: dockerfile.CmdInstruction) -> tuple[StageState, Step]:
    words = _command(state, item.command)
    return _executing(state, "Cmd", words).replace(cmd_set=True), Step(item, "CMD " + _quoted(words))


def _entrypoint(
    _fold: Fold, state: StageState, item: dockerfile.EntrypointInstruction
) -> tuple[StageState, Step]:
    words = _command(state, item.command)
    run = {name: value for name, value in state.run.items() if name != "Cmd" or state.cmd_set}
    state = _executing(state.replace(run=run), "Entrypoint", words)
    return state, Step(item, "ENTRYPOINT " + _quoted(words))


def _executing(state: StageState, name: str, words: list[str]) -> StageState:
    """With Cmd or Entrypoint; an empty one is left out, also that of the base, as OCI's Go structs do it."""
    if words:
        return state.changed(**{name: words})
    return state.replace(run={key: value for key, value in state.run.items() if key != name})


def _quoted(words: list[str]) -> str:
    return "[" + " ".join(map(quoted, words)) + "]"


def _shell_instruction(
    _fold: Fold, state: StageState, item: dockerfile.ShellInstruction
) -> tuple[StageState, Step]:
    words = [str(word) for word in item.words]
    return state.changed(Shell=words), Step(item, f"SHELL [{' '.join(words)}]")


def _healthcheck(
    _fold: Fold, state: StageState, item: dockerfile.HealthcheckInstruction
) -> tuple[StageState, Step]:
    return state.changed(Healthcheck=item.to_json()), Step(item, item.code)


def _expose(fold: Fold, state: StageState, item: dockerfile.ExposeInstruction) -> tuple[StageState, Step]:
    ports: list[str] = []
    for word in item.ports:
        for text in fold.words(state, word, item):
            ports += _ports(text, item, word)
    exposed = {**(state.run.get("ExposedPorts") or {}), **{port: {} for port in ports}}
    return state.changed(ExposedPorts=exposed), Step(item, f"EXPOSE [{' '.join(ports)}]")


def _ports(text: str, item: Instruction, at: str) -> tuple[str, ...]:
    """`[[ip:]host:]port[-port][/protocol]` as `port/protocol`; what maps to the host is ignored."""
    from ...grammars.ports import parse_expose

    try:
        return parse_expose(text.rpartition(":")[2])
    except ValueError as error:
        raise item.error(f"invalid port {text!r}: {error}", at) from None


def _user(fold: Fold, state: StageState, item: dockerfile.UserInstruction) -> tuple[StageState, Step]:
    user = fold.text(state, item.user, item)
    return state.changed(User=user), Step(item, f"USER {user}")


def _volume(fold: Fold, state: StageState, item: dockerfile.VolumeInstruction) -> tuple[StageState, Step]:
    paths = [fold.text(state, path, item) for path in item.paths]
    if "" in paths:
        raise item.error("VOLUME can not be an empty string")
    volumes = {**(state.run.get("Volumes") or {}), **{path: {} for path in paths}}
    return state.changed(Volumes=volumes), Step(item, f"VOLUME [{' '.join(paths)}]")


def _workdir(fold: Fold, state: StageState, item: dockerfile.WorkdirInstruction) -> tuple[StageState, Step]:
    path = _absolute(state.workdir, fold.text(state, item.path, item))
    state = state.changed(WorkingDir=path)
    return state, Step(item, f"WORKDIR {path}", WorkdirAction(path, state.user) if path != "/" else None)


def _absolute(folder: str, path: str) -> str:
    """Go's path.Join: never two slashes at the front."""
    return "/" + posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/")


def _stopsignal(
    fold: Fold, state: StageState, item: dockerfile.StopSignalInstruction
) -> tuple[StageState, Step]:
    text = fold.text(state, item.signal, item)
    if not _is_signal(text):
        raise item.error(f"invalid signal {text!r}", item.signal, hint="write for example SIGTERM or 15")
    return state.changed(StopSignal=text), Step(item, f"STOPSIGNAL {text}")


def _is_signal(text: str) -> bool:
    if text.isascii() and text.isdigit():
        return 0 < int(text[:4]) <= 64 and len(text) < 4
    name = text.upper().removeprefix("SIG")
    if name[:3] == "RTM":
        base, _, rest = name.replace("-", "+").partition("+")
        return base in ("RTMIN", "RTMAX") and (not rest or rest.isdecimal())
    import signal

    return "SIG" + name in signal.Signals.__members__


def _onbuild(_fold: Fold, state: StageState, item: dockerfile.OnBuildInstruction) -> tuple[StageState, Step]:
    triggers = [*(state.run.get("OnBuild") or []), item.expression]
    return state.changed(OnBuild=triggers), Step(item, "")


def _copy(fold: Fold, state: StageState, item: dockerfile.CopyInstruction) -> tuple[StageState, Step]:
    sources = tuple(fold.text(state, source, item) for source in item.sources)
    _check_sources(sources, item)
    said = fold.text(state, item.checksum, item)
    checksum = _checksum(said, sources, item)
    contents = tuple(
        (doc.name, fold.document(state, doc.content, item) if doc.expand else doc.content)
        for doc in item.contents
    )
    target = fold.text(state, item.destination, item)
    chown, chmod = fold.text(state, item.chown, item), fold.text(state, item.chmod, item)
    unpack = item.is_add if item.unpack is None else item.unpack
    action = CopyAction(
        sources, contents, _destination(state.workdir, target), str(item.source_stage), chown,
        _mode(chmod, item), item.link, item.parents, tuple(map(str, item.excludes)), unpack,
        bool(item.unpack), checksum,
        _repositories(sources, said, item) if any(map(is_git, sources)) else (),
    )  # fmt: skip
    words = [str(item.name), *(["--parents"] if item.parents else [])]
    words += [f"--chown={chown}"] * bool(chown) + [f"--chmod={chmod}"] * bool(chmod)
    words += [*sources, *(f"<<{name}" for name, _ in contents), target]
    return state, Step(item, " ".join(words) + _MARK, action)


def is_url(source: str) -> bool:
    """Whether a source of ADD is fetched as a file."""
    return source.startswith(("http://", "https://")) and not is_git(source)


def is_remote(source: str) -> bool:
    """Whether a source of ADD is fetched."""
    return is_url(source) or is_git(source)


def _check_sources(sources: tuple[str, ...], item: dockerfile.CopyInstruction) -> None:
    for written, source in zip(item.sources, sources, strict=True):
        if not item.is_add and is_remote(source):
            raise item.error("source can't be a URL for COPY", written, hint="ADD fetches from URLs")


def _repositories(
    sources: tuple[str, ...], checksum: str, item: dockerfile.CopyInstruction
) -> tuple[GitSource | None, ...]:
    """What each source is, if it is a repository, with what the flags say of it."""
    found = []
    for written, source in zip(item.sources, sources, strict=True):
        try:
            one = read_git(source) if is_git(source) else None
            found.append(one and _flagged(one, checksum_of(checksum), item))
        except UsageError as error:
            raise item.error(error.message, written) from None
    return tuple(found)


def _flagged(source: GitSource, checksum: str, item: dockerfile.CopyInstruction) -> GitSource:
    if item.keep_git_dir is not None:
        if source.keep not in (None, item.keep_git_dir):
            raise UsageError("the source and --keep-git-dir say different things of .git")
        source = source.replace(keep=item.keep_git_dir)
    if checksum and source.checksum not in ("", checksum):
        raise UsageError(f"checksum conflicts: {source.checksum!r} vs {checksum!r}")
    return source.replace(checksum=checksum or source.checksum)


def _checksum(text: str, sources: tuple[str, ...], item: dockerfile.CopyInstruction) -> Digest | None:
    """What --checksum says of a file; it and --keep-git-dir must have a meaning."""
    if not any(map(is_remote, sources)):
        if item.checksum or item.keep_git_dir is not None:
            raise item.error("--checksum and --keep-git-dir need a URL as source", item.checksum)
        return None
    if item.keep_git_dir is not None and not any(map(is_git, sources)):
        raise item.error("--keep-git-dir needs a git repository as source")
    if item.checksum and len(sources) + len(item.contents) > 1:
        raise item.error("checksum can't be specified for multiple sources", item.checksum)
    if not item.checksum or is_git(sources[0]):
        return None
    try:
        return Digest(text)
    except InvalidName:
        raise item.error(
            f"invalid --checksum {text[:150]!r}: expected sha256:<64 hex digits> or sha512:<128 hex digits>",
            item.checksum,
        ) from None


def _destination(workdir: str, target: str) -> str:
    """Absolute, cleaned; a final slash (or `/.`) still says that it is a folder."""
    path = _absolute(workdir, target)
    is_folder = target.endswith(("/", "/.")) or target in ("", ".", "..")
    return path + "/" if is_folder and path != "/" else path


def _mode(text: str, item: dockerfile.CopyInstruction) -> str:
    if text and octal(text) is None and not is_symbolic(text):
        raise item.error(
            f"invalid --chmod {text!r}: expected an octal number up to 7777, or symbols", item.chmod,
            hint="write for example 755 or u=rwX,go=rX",
        )  # fmt: skip
    return text


_RULES: dict[str, Callable[..., tuple[StageState, Step]]] = {
    "ADD": _copy, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env,
    "EXPOSE": _expose, "HEALTHCHECK": _healthcheck, "LABEL": _label, "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild, "RUN": _run, "SHELL": _shell_instruction, "STOPSIGNAL": _stopsignal,
    "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip
