"""The command line as runc has it: `--flag value`, `--flag=value` and `-flag`, before the arguments."""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SWITCH, TEXT, MANY = "switch", "text", "many"


class CommandFlags(Value):
    """Of one command: its flags by name, short names, and how many arguments it takes (-1: any number)."""

    flags: Mapping[str, str]
    least: int = 1
    most: int = 1
    short: Mapping[str, str] = {}
    line: str = ""


class GivenFlags:
    """The flags and arguments that were given."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.arguments: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        """The last value of a flag."""
        return self.values.get(name, [default])[-1]

    def many(self, name: str) -> list[str]:
        """All values of a flag."""
        return self.values.get(name, [])

    def switch(self, name: str) -> bool:
        """Whether a flag is set."""
        return self.text(name) == "true"

    def number(self, name: str, most: int) -> int:
        """A whole number, 0 for none. Raises UsageError."""
        word = self.text(name) or "0"
        if not word.isascii() or not word.isdigit() or int(word) > most:
            raise UsageError(f"--{name} is {word!r}, not a number from 0 to {most}")
        return int(word)


def parse(words: Sequence[str], usage: CommandFlags, command: str, *, whole: bool = True) -> GivenFlags:
    """Flags, then arguments; the first that is no flag ends the flags. Raises UsageError.

    Without `whole` any number of arguments may follow, as after the flags before a command.
    """
    found = GivenFlags()
    waiting = list(words)
    while waiting and waiting[0].startswith("-") and waiting[0] != "-":
        word = waiting.pop(0)
        if word == "--":
            break
        _flag(word, waiting, usage, command, found)
    found.arguments = waiting
    if whole and (len(waiting) < usage.least or -1 < usage.most < len(waiting)):
        raise UsageError(f"nacre-runtime {command} takes {usage.line or 'a container id'}")
    return found


def _flag(word: str, waiting: list[str], usage: CommandFlags, command: str, found: GivenFlags) -> None:
    name, sign, value = word.lstrip("-").partition("=")
    name = usage.short.get(name, name)
    kind = usage.flags.get(name)
    if kind is None:
        raise UsageError(f"nacre-runtime {command} has no flag {word.partition('=')[0]}")
    if kind == SWITCH:
        if sign and value not in ("true", "false"):
            raise UsageError(f"--{name} is {value!r}, not true or false")
        value = value or "true"
    elif not sign:
        if not waiting:
            raise UsageError(f"--{name} needs a value")
        value = waiting.pop(0)
    found.values.setdefault(name, []).append(value)
