r"""Nodes into typed instructions, and instructions into stages.

    dockerfile  = *ARG 1*stage
    stage       = FROM *instruction
    FROM        = [ --platform= ] base [ AS name ]           name = a-z *( a-z / 0-9 / "-" / "_" / "." )
    RUN         = [ --mount= ]* [ --network= ] [ --security= ] [ --device= ]* command
    COPY        = [ --from= ] copying 1*( source / heredoc ) destination
    ADD         = [ --checksum= ] [ --keep-git-dir ] [ --unpack ] copying 1*( source / heredoc ) destination
    copying     = [ --chown= ] [ --chmod= ] [ --link ] [ --parents ] [ --exclude= ]*
    HEALTHCHECK = "NONE" / [ --interval= ] [ --timeout= ] [ --start-period= ] [ --start-interval= ]
                  [ --retries= ] "CMD" command
    ONBUILD     = any instruction but ONBUILD, FROM, MAINTAINER

Source: Dockerfile reference. Names of instructions and of stages do not care for upper or lower case.
"""

from __future__ import annotations

from .checks import LintWarning
from .flags import BOOL, LIST, TEXT, read_flags
from .instructions import (
    ArgInstruction,
    CmdInstruction,
    CommandLine,
    CopyInstruction,
    Dockerfile,
    EntrypointInstruction,
    EnvInstruction,
    ExposeInstruction,
    FromInstruction,
    HealthcheckInstruction,
    Instruction,
    LabelInstruction,
    MaintainerInstruction,
    OnBuildInstruction,
    RunInstruction,
    ShellInstruction,
    Stage,
    StopSignalInstruction,
    UserInstruction,
    VolumeInstruction,
    WorkdirInstruction,
)
from .syntax import Heredoc, RawInstruction, parse_heredoc, read
from .tokens import Token, did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...words.errors import DockerfileError
    from .tokens import LogicalLine

    _Head = tuple[Token, str, LogicalLine]

_COPYING = {"chown": TEXT, "chmod": TEXT, "link": BOOL, "exclude": LIST}
_STAGE_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz")
_STAGE_REST = _STAGE_FIRST | frozenset("0123456789-_.")
_SECOND = 1_000_000_000
_UNITS = {
    "ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}  # fmt: skip


def parse(text: str, file: str = "Dockerfile") -> Dockerfile:
    """Read a whole Dockerfile; `file` is how messages name it. Raises DockerfileError."""
    syntax = read(text, file)
    instructions = [_instruction(node) for node in syntax.nodes]
    first = next(
        (i for i, item in enumerate(instructions) if isinstance(item, FromInstruction)), len(instructions)
    )
    stages = _stages(instructions)
    return Dockerfile(
        file, _global_args(instructions[:first]), stages, syntax.escape, syntax.directives,
        (
            *syntax.warnings,
            *other_frontend(dict(syntax.directives).get("syntax", ""), "syntax"),
            *_suspicions(syntax.nodes),
        ),
    )  # fmt: skip


def parse_trigger(text: str, file: str) -> Instruction:
    """The one instruction of an ONBUILD trigger kept by a base image. Raises DockerfileError."""
    nodes = read(text, file).nodes
    if len(nodes) != 1:
        raise nodes[1].line.error("an ONBUILD trigger must be a single instruction")
    return _instruction(nodes[0])


def other_frontend(name: str, where: str) -> list[LintWarning]:
    """A warning if `name`, given at `where`, asks for something else than Docker's own Dockerfile."""
    image = name.removeprefix("docker.io/")
    if image.partition(":")[0].partition("@")[0] in ("", "docker/dockerfile", "docker/dockerfile-upstream"):
        return []
    why = "nacre runs no frontends and reads the file as a Dockerfile"
    return [LintWarning(f"{where}={image} requests another frontend, which is ignored: {why}")]


def _suspicions(nodes: tuple[RawInstruction, ...]) -> list[LintWarning]:
    """Text after RUN that was meant to be JSON, as far as one can tell; CMD and ENTRYPOINT have a rule."""
    return [
        LintWarning(
            "RUN starts with '[' but is not a JSON array of strings (they need double quotes), so the shell "
            "runs it unchanged",
            line=node.line.line, end=node.line.end_line,
        )
        for node in nodes
        if node.args and not node.json and node.args[0].startswith("[") and node.args[-1].endswith("]")
        and node.name.upper() == "RUN"
    ]  # fmt: skip


def _global_args(instructions: list[Instruction]) -> tuple[ArgInstruction, ...]:
    for item in instructions:
        if not isinstance(item, ArgInstruction):
            raise item.error(f"{item.name} is before the first FROM", hint="only ARG may precede it")
    return tuple(item for item in instructions if isinstance(item, ArgInstruction))


def _stages(instructions: list[Instruction]) -> tuple[Stage, ...]:
    starts = [i for i, item in enumerate(instructions) if isinstance(item, FromInstruction)]
    if not starts:
        _global_args(instructions)
        raise instructions[-1].error("no FROM: the file has no build stage")
    stages = []
    for index, (start, end) in enumerate(zip(starts, [*starts[1:], len(instructions)], strict=True)):
        base = instructions[start]
        if isinstance(base, FromInstruction):
            stages.append(Stage(index, base, tuple(instructions[start + 1 : end])))
    return tuple(stages)


def _instruction(node: RawInstruction) -> Instruction:
    name = node.name.upper()
    build = _BUILDERS.get(name)
    if build is None:
        raise node.line.error_at(
            node.name, f"unknown instruction: {str(node.name)[:80]!r}",
            hint=did_you_mean(node.name, tuple(_BUILDERS)),
        )  # fmt: skip
    _check_text(node)
    code = node.line.text[node.start :].strip()
    return build(node, (node.name.like(name), code, node.line))


def _check_text(node: RawInstruction) -> None:
    """Refuse what no image config, no program and no path can hold."""
    for text in (node.line.text, *node.args, *(doc.text for doc in node.heredocs)):
        if text.isascii() and "\0" not in text:
            continue
        bad = next((i for i, char in enumerate(text) if char == "\0" or "\ud800" <= char <= "\udfff"), -1)
        if bad >= 0:
            kind = "a NUL character" if text[bad] == "\0" else "bytes that are not UTF-8"
            raise node.line.error(f"{node.name.upper()} holds {kind}", bad if text is node.line.text else 0)


def _needs(node: RawInstruction, exactly_one: bool = False) -> None:
    if exactly_one and len(node.args) != 1:
        raise node.line.error_at(node.name, f"{node.name.upper()} requires exactly one argument")
    if not node.args:
        raise node.line.error_at(node.name, f"{node.name.upper()} requires at least one argument")


def _from(node: RawInstruction, head: _Head) -> FromInstruction:
    flags = read_flags(node, {"platform": TEXT})
    args = node.args
    if len(args) not in (1, 3) or (len(args) == 3 and args[1].lower() != "as"):
        raise node.line.error_at(
            args[1] if len(args) > 1 else node.name,
            "FROM requires either one or three arguments: FROM image [AS name]",
        )  # fmt: skip
    return FromInstruction(
        *head, args[0], _stage_name(node, args[2]) if len(args) == 3 else "", flags["platform"]
    )


def _stage_name(node: RawInstruction, token: Token) -> str:
    name = token.lower()
    if name[0] not in _STAGE_FIRST or not _STAGE_REST.issuperset(name):
        raise node.line.error_at(
            token, f"invalid name for build stage: {str(token)!r}",
            hint="a name starts with a letter, followed by letters, digits, '-', '_' and '.'",
        )  # fmt: skip
    return name


def _arg(node: RawInstruction, head: _Head) -> ArgInstruction:
    _needs(node)
    declared: list[tuple[Token, Token | None]] = []
    for word in node.args:
        name, equals, value = word.partition("=")
        if not name:
            raise node.line.error_at(word, "ARG names can not be blank")
        column = word.column + len(name) + 1
        declared.append((word.like(name), Token(value, word.line, column) if equals else None))
    return ArgInstruction(*head, tuple(declared))


def _pairs(node: RawInstruction) -> tuple[tuple[Token, Token], ...]:
    read_flags(node, {})
    _needs(node)
    for name in node.args[::3]:
        if not name:
            raise node.line.error_at(name, f"{node.name.upper()} names can not be blank")
    return tuple(zip(node.args[::3], node.args[1::3], strict=True))


def _env(node: RawInstruction, head: _Head) -> EnvInstruction:
    return EnvInstruction(*head, _pairs(node), not node.args[2])


def _label(node: RawInstruction, head: _Head) -> LabelInstruction:
    return LabelInstruction(*head, _pairs(node), not node.args[2])


def _one(kind: Callable[..., Instruction]) -> Callable[..., Instruction]:
    """An instruction that takes exactly one text."""

    def build(node: RawInstruction, head: _Head) -> Instruction:
        read_flags(node, {})
        _needs(node, exactly_one=True)
        return kind(*head, node.args[0])

    return build


def _command(node: RawInstruction, args: tuple[Token, ...]) -> CommandLine:
    return CommandLine(tuple(args), not node.json, node.heredocs)


def _cmd(node: RawInstruction, head: _Head) -> CmdInstruction:
    read_flags(node, {})
    return CmdInstruction(*head, _command(node, node.args))


def _entrypoint(node: RawInstruction, head: _Head) -> EntrypointInstruction:
    read_flags(node, {})
    return EntrypointInstruction(*head, _command(node, node.args))


def _run(node: RawInstruction, head: _Head) -> RunInstruction:
    flags = read_flags(node, {"mount": LIST, "network": TEXT, "security": TEXT, "device": LIST})
    _needs(node)
    if flags["network"] not in ("", "default", "none", "host"):
        raise node.line.error_at(
            flags["network"], f"unsupported network mode {str(flags['network'])!r}",
            hint="use default, none or host",
        )  # fmt: skip
    if flags["security"] not in ("", "sandbox", "insecure"):
        raise node.line.error_at(flags["security"], f"unsupported security mode {str(flags['security'])!r}")
    return RunInstruction(
        *head, _command(node, node.args), flags["mount"], flags["network"], flags["security"], flags["device"]
    )


def _shell(node: RawInstruction, head: _Head) -> ShellInstruction:
    read_flags(node, {})
    _needs(node)
    if not node.json:
        raise node.line.error_at(
            node.args[0], "SHELL requires its arguments in JSON form", hint='write SHELL ["/bin/bash", "-c"]'
        )
    return ShellInstruction(*head, node.args)


def _expose(node: RawInstruction, head: _Head) -> ExposeInstruction:
    read_flags(node, {})
    _needs(node)
    return ExposeInstruction(*head, tuple(sorted(node.args)))


def _volume(node: RawInstruction, head: _Head) -> VolumeInstruction:
    read_flags(node, {})
    _needs(node)
    paths = tuple(word.like(word.strip()) for word in node.args)
    if "" in paths:
        raise node.line.error_at(node.name, "VOLUME can not be an empty string")
    return VolumeInstruction(*head, paths)


def _copy(node: RawInstruction, head: _Head) -> CopyInstruction:
    flags = read_flags(node, _COPYING | {"from": TEXT, "parents": BOOL})
    return CopyInstruction(
        *head, *_sources(node), flags["from"], flags["chown"], flags["chmod"], bool(flags["link"]),
        bool(flags["parents"]), flags["exclude"],
    )  # fmt: skip


def _add(node: RawInstruction, head: _Head) -> CopyInstruction:
    flags = read_flags(node, _COPYING | {"keep-git-dir": BOOL, "checksum": TEXT, "unpack": BOOL})
    return CopyInstruction(
        *head, *_sources(node), "", flags["chown"], flags["chmod"], bool(flags["link"]), False,
        flags["exclude"], flags["checksum"], flags["unpack"], flags["keep-git-dir"],
    )  # fmt: skip


def _sources(node: RawInstruction) -> tuple[tuple[Token, ...], tuple[Heredoc, ...], Token]:
    name = node.name.upper()
    if len(node.args) < 2:
        raise node.line.error_at(
            node.args[0] if node.args else node.name,
            f"{name} requires at least two arguments: sources and a destination",
        )  # fmt: skip
    *sources, destination = node.args
    if node.heredocs and parse_heredoc(destination):
        raise node.line.error_at(destination, f"{name} cannot accept a here-document as a destination")
    bodies = {doc.name: doc for doc in node.heredocs}
    found = {source: doc.name for source in sources if bodies and (doc := parse_heredoc(source))}
    contents = tuple(bodies[found[source]] for source in sources if found.get(source) in bodies)
    return tuple(source for source in sources if source not in found), contents, destination


def _healthcheck(node: RawInstruction, head: _Head) -> HealthcheckInstruction:
    _needs(node)
    times = ("interval", "timeout", "start-period", "start-interval")
    flags = read_flags(node, dict.fromkeys((*times, "retries"), TEXT))
    kind, words = node.args[0].upper(), tuple(str(word) for word in node.args[1:])
    if kind == "NONE":
        if words:
            raise node.line.error_at(node.args[1], "HEALTHCHECK NONE takes no arguments")
        return HealthcheckInstruction(*head, ("NONE",))
    if kind != "CMD":
        raise node.line.error_at(node.args[0], f"unknown type {str(node.args[0])!r} in HEALTHCHECK (try CMD)")
    if not words:
        raise node.line.error_at(node.args[0], "missing command after HEALTHCHECK CMD")
    interval, timeout, start, start_interval = (_duration(node, flags[name]) for name in times)
    test = ("CMD" if node.json else "CMD-SHELL", *words)
    return HealthcheckInstruction(
        *head, test, interval, timeout, start, start_interval, _retries(node, flags["retries"])
    )


def _retries(node: RawInstruction, text: Token) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise node.line.error_at(text, f"invalid --retries {str(text)!r}: expected a number from 0 up")
    return int(text)


def _duration(node: RawInstruction, text: Token) -> int:
    """Go's form of a duration (`1m30s`, `500ms`) in nanoseconds. Raises DockerfileError."""
    if not text or text == "0":
        return 0
    total, rest = 0.0, str(text)
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(digits) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµμmsh"))]
        unit = unit if unit in _UNITS else ""
        if not digits.replace(".", "", 1) or digits.count(".") > 1 or not unit:
            raise _bad_duration(node, text)
        total += float(digits) * _UNITS[unit]
        rest = rest[len(unit) :]
    if not 1 << 63 > total >= 1_000_000 and total:
        raise node.line.error_at(text, f"duration {str(text)!r} cannot be less than 1ms")
    return int(total)


def _bad_duration(node: RawInstruction, text: Token) -> DockerfileError:
    return node.line.error_at(text, f"invalid duration {str(text)!r}", hint="write for example 30s or 1m30s")


def _onbuild(node: RawInstruction, head: _Head) -> OnBuildInstruction:
    read_flags(node, {})
    if node.child is None:
        raise node.line.error_at(node.name, "ONBUILD requires at least one argument")
    if (name := node.child.name.upper()) in ("ONBUILD", "FROM", "MAINTAINER"):
        raise node.line.error_at(node.child.name, f"{name} isn't allowed as an ONBUILD trigger")
    trigger = _instruction(node.child.replace(heredocs=node.heredocs))
    bodies = "".join(f"\n{doc.text}{doc.name}" for doc in node.heredocs)
    return OnBuildInstruction(*head, trigger.code + bodies, trigger)


_BUILDERS: dict[str, Callable[..., Instruction]] = {
    "ADD": _add, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env,
    "EXPOSE": _expose, "FROM": _from, "HEALTHCHECK": _healthcheck, "LABEL": _label,
    "MAINTAINER": _one(MaintainerInstruction), "ONBUILD": _onbuild, "RUN": _run, "SHELL": _shell,
    "STOPSIGNAL": _one(StopSignalInstruction), "USER": _one(UserInstruction), "VOLUME": _volume,
    "WORKDIR": _one(WorkdirInstruction),
}  # fmt: skip
