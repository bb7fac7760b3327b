"""What the instructions of a Dockerfile say, typed but not yet expanded.

Strings are tokens: they know their line and column. Source: Dockerfile reference, one class per
instruction. Times are in nanoseconds, as the image config keeps them.
"""

from __future__ import annotations

from ...words.errors import DockerfileError
from ...words.value import Value
from .syntax import Heredoc
from .tokens import LogicalLine, Token, position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .checks import LintWarning

    Pairs = tuple[tuple[Token, Token], ...]


class Instruction(Value):
    """Base of all: `name` in capitals as a token, `code` the joined text, `line` where it stands."""

    name: Token
    code: str
    line: LogicalLine

    @property
    def where(self) -> str:
        """The place of the instruction as `file:line`, for messages."""
        return f"{self.line.file}:{self.line.line}"

    def error(self, message: str, at: str = "", *, hint: str = "") -> DockerfileError:
        """The error that `message` says, about the token `at` or the whole instruction."""
        return self.line.error_at(at if position(at) else self.name, message, hint=hint)


class CommandLine(Value):
    """What RUN, CMD, ENTRYPOINT and HEALTHCHECK execute: `words`, by the shell if `shell`."""

    words: tuple[str, ...]
    shell: bool
    heredocs: tuple[Heredoc, ...] = ()


class FromInstruction(Instruction):
    """FROM [--platform=…] base [AS alias]; `alias` in lower case."""

    base: Token
    alias: str = ""
    platform: str = ""


class ArgInstruction(Instruction):
    """ARG name[=default] …; a default of None means that there is none."""

    declared: tuple[tuple[Token, Token | None], ...]


class EnvInstruction(Instruction):
    """ENV name=value … or, `legacy`, ENV name value."""

    pairs: Pairs
    legacy: bool = False


class LabelInstruction(Instruction):
    """LABEL: adds key-value metadata to the image config; `legacy` as for ENV."""

    pairs: Pairs
    legacy: bool = False


class MaintainerInstruction(Instruction):
    """MAINTAINER: sets the author; deprecated."""

    text: Token


class RunInstruction(Instruction):
    """RUN [--mount=…] [--network=…] [--security=…] [--device=…] command."""

    command: CommandLine
    mounts: tuple[Token, ...] = ()
    network: str = ""
    security: str = ""
    devices: tuple[Token, ...] = ()


class CopyInstruction(Instruction):
    """COPY and ADD: `sources` and here-documents into `destination`.

    `source_stage` is --from. `unpack` and `keep_git_dir` are None when the flag was not given.
    """

    sources: tuple[Token, ...]
    contents: tuple[Heredoc, ...]
    destination: Token
    source_stage: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    checksum: str = ""
    unpack: bool | None = None
    keep_git_dir: bool | None = None

    @property
    def is_add(self) -> bool:
        """Whether it is ADD."""
        return self.name == "ADD"


class CmdInstruction(Instruction):
    """CMD: sets the default command of the image."""

    command: CommandLine


class EntrypointInstruction(Instruction):
    """ENTRYPOINT: sets the program that a container runs."""

    command: CommandLine


class ShellInstruction(Instruction):
    """SHELL: sets the shell of later instructions in shell form."""

    words: tuple[str, ...]


class HealthcheckInstruction(Instruction):
    """HEALTHCHECK [options] CMD command, or NONE. `test` as in the image config; 0 means the default."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    def to_json(self) -> dict[str, Any]:
        """As the image config keeps it."""
        fields = {
            "Interval": self.interval, "Timeout": self.timeout, "StartPeriod": self.start_period,
            "StartInterval": self.start_interval, "Retries": self.retries,
        }  # fmt: skip
        return {"Test": list(self.test)} | {name: value for name, value in fields.items() if value}


class ExposeInstruction(Instruction):
    """EXPOSE: lists ports in the image config."""

    ports: tuple[Token, ...]


class UserInstruction(Instruction):
    """USER: sets the user and group of later steps and of containers."""

    user: Token


class VolumeInstruction(Instruction):
    """VOLUME: lists paths that become anonymous volumes."""

    paths: tuple[Token, ...]


class WorkdirInstruction(Instruction):
    """WORKDIR: sets the working directory, and creates it."""

    path: Token


class StopSignalInstruction(Instruction):
    """STOPSIGNAL name or number."""

    signal: Token


class OnBuildInstruction(Instruction):
    """ONBUILD instruction; `expression` is its text, `trigger` the same instruction read."""

    expression: str
    trigger: Instruction


class Stage(Value):
    """From one FROM to the next. `index` counts from 0."""

    index: int
    base: FromInstruction
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The name given with AS, in lower case, or ""."""
        return self.base.alias


class Dockerfile(Value):
    """A whole file: the ARGs before the first FROM, and its stages (at least one)."""

    file: str
    global_args: tuple[ArgInstruction, ...]
    stages: tuple[Stage, ...]
    escape: str = "\\"
    directives: tuple[tuple[str, str], ...] = ()
    warnings: tuple[LintWarning, ...] = ()
