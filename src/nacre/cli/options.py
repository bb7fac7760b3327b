"""Commands, their options and the parser: docker's rules, because fingers know them.

    long       = "--" name [ "=" value | SP value ]      a flag takes a value only after "="
    short      = "-" *flag-letter [ letter [ "=" ] value | letter SP value ]
    positional = anything else, and "-" alone; "--" makes all that follows positional

Options and positionals mix, except where a command says `interspersed=False` (run, create, exec): there
the first positional ends the options. A repeated option replaces its value, or adds to it when it is a
list. Source: spf13/pflag, which docker uses. Written by hand because `argparse` costs 10 ms of start-up
and reads `run IMAGE -x` its own way.
"""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..words.oci import Platform
    from .context import Context

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class Option(Value):
    """One option; made by `flag`, `text`, `number`, `size` and `many` below.

    `kind` is the reader of its value (a key of the table of readers), `type` the word help shows for
    it, `implied` the value meant when the option stands alone (then a value needs "="), `many` whether
    each use adds to a list.
    """

    name: str
    short: str
    help: str
    kind: str = "text"
    type: str = ""
    default: object = ""
    choices: tuple[str, ...] = ()
    implied: str = ""
    many: bool = False
    hidden: bool = False

    @property
    def key(self) -> str:
        """The name of its attribute in `Args`."""
        return self.name.replace("-", "_")

    @property
    def spelling(self) -> str:
        """As errors and help show it: `-d, --detach`."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def name_and_value(text: str) -> tuple[str, str]:
    """`NAME=value` as a pair; without "=" the value is empty."""
    name, _, value = text.partition("=")
    return name, value


def flag(spelling: str, help: str, *, default: bool = False, hidden: bool = False) -> Option:
    """A boolean: `flag("-d, --detach", "Run in background")` gives `args.detach: bool`."""
    short, name = _names(spelling)
    return Option(name, short, help, "bool", "", default, (), "true", False, hidden)


def text(
    spelling: str, help: str, *, default: str = "", type: str = "string", hidden: bool = False,
    kind: str = "text",
) -> Option:  # fmt: skip
    """A string, "" when absent: `text("-w, --workdir", "…")` gives `args.workdir: str`.

    `kind` names a reader of `values` that checks it, and may make it something else.
    """
    short, name = _names(spelling)
    return Option(name, short, help, kind, type, default, (), "", False, hidden)


def choice(
    spelling: str, help: str, choices: tuple[str, ...], *, default: str = "", hidden: bool = False
) -> Option:
    """One of several words, as a string; `default` when absent."""
    short, name = _names(spelling)
    return Option(name, short, help, "text", "string", default, choices, "", False, hidden)


def number(
    spelling: str, help: str, *, default: int | None = None, type: str = "int", hidden: bool = False,
    kind: str = "int",
) -> Option:  # fmt: skip
    """A whole number; gives `int`, or `default` when absent. `kind` as for `text`."""
    short, name = _names(spelling)
    return Option(name, short, help, kind, type, default, (), "", False, hidden)


def size(spelling: str, help: str, *, default: int = 0, type: str = "bytes") -> Option:
    """An amount such as `512m` or `1.5GiB`, in binary units as docker reads it; gives bytes as `int`."""
    short, name = _names(spelling)
    return Option(name, short, help, "bytes", type, default)


def many(spelling: str, help: str, *, type: str = "list", hidden: bool = False, kind: str = "text") -> Option:
    """An option that may be repeated; gives a list: values as written, or as `kind` reads them."""
    short, name = _names(spelling)
    return Option(name, short, help, kind, type, (), (), "", True, hidden)


def _names(spelling: str) -> tuple[str, str]:
    short, comma, name = spelling.partition(", ")
    return (short[1:], name[2:]) if comma else ("", short[2:])


class Command(Value):
    """What one module of the command line offers as `COMMAND`.

    `arguments` is the rest of the usage line, from which the number of positionals follows:
    `IMAGE [COMMAND] [ARG...]` wants one or more, `SOURCE TARGET` two, `[NAME]` at most one, `A | B` one.
    `run(context, args)` returns the exit code. `store` says that the command touches the store, so that
    an ordinary user enters the user namespace before it. `details` is shown under the summary in help.
    `failure` is the exit code of errors that have none of their own (125 for run, as docker).
    The one-line summary stands in the table of commands (main.py).
    """

    arguments: str
    run: Callable[[Context, Args], int]
    options: tuple[Option, ...] = ()
    interspersed: bool = True
    store: bool = True
    details: str = ""
    failure: int = 1


class Args:
    """What was parsed: one attribute for each option (`--read-only` is `read_only`), and

    `positionals`, the rest in order; `given`, the keys of the options that stood on the line;
    `command`, the command as typed (`image ls`), for messages.
    """

    positionals: list[str]
    given: set[str]
    command: str

    def __init__(self, command: str, options: Sequence[Option]) -> None:
        values = self.__dict__
        for option in options:
            values[option.name.replace("-", "_")] = [] if option.many else option.default
        self.command, self.positionals, self.given = command, [], set()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def platform_of(args: Args) -> Platform | None:
    """What `--platform` says, None where it was not given. Raises InvalidName."""
    from ..words.oci import Platform

    return Platform.parse(args.platform) if args.platform else None


class HelpWanted(Exception):
    """`--help` stood on the line; nothing after it was looked at."""


def parse(command: Command, argv: Sequence[str], name: str = "") -> Args:
    """Read `argv` (without the command's own name). Raises UsageError, HelpWanted."""
    args = _OptionParser(command, name).parse(argv)
    _check_count(command.arguments, args)
    return args


class _OptionParser:
    def __init__(self, command: Command, name: str) -> None:
        self.command, self.name = command, name
        self.args = Args(name, command.options)
        self.long = {option.name: option for option in command.options}
        self.rest: list[str] = []

    def parse(self, argv: Sequence[str]) -> Args:
        self.rest = rest = list(reversed(argv))
        positionals = self.args.positionals
        while rest:
            word = rest.pop()
            if word == "--":
                break
            if word[:2] == "--":
                self.read_long(word)
            elif len(word) > 1 and word[0] == "-":
                self.read_shorts(word)
            else:
                positionals.append(word)
                if not self.command.interspersed:
                    break
        positionals.extend(reversed(rest))
        return self.args

    def read_long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        option = self.long.get(name)
        if option is None:
            if name == "help":
                raise HelpWanted
            raise self.error(f"unknown flag: --{name}")
        if equals:
            self.store(option, value)
        elif option.implied:
            self.store(option, option.implied)
        else:
            self.store(option, self.next_word(f"--{name}"))

    def read_shorts(self, word: str) -> None:
        shorts = {option.short: option for option in self.command.options if option.short}
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            option = shorts.get(letter)
            if option is None:
                if letter == "h":
                    raise HelpWanted
                raise self.error(f"unknown shorthand flag: {letter!r} in {word}")
            if letters[:1] == "=":
                return self.store(option, letters[1:])
            if option.implied:
                self.store(option, option.implied)
                continue
            return self.store(option, letters or self.next_word(f"{letter!r} in {word}"))
        return None

    def next_word(self, shown: str) -> str:
        if not self.rest:
            raise self.error(f"flag needs an argument: {shown}")
        return self.rest.pop()

    def store(self, option: Option, written: str) -> None:
        try:
            value = (_READERS.get(option.kind) or _reader(option.kind))(written)
            if option.choices and value not in option.choices:
                raise ValueError(f"expected one of {', '.join(filter(None, option.choices))}")
        except ValueError as error:
            raise self.error(f'invalid argument "{written}" for "{option.spelling}" flag: {error}') from None
        values, key = self.args.__dict__, option.key
        if option.many:
            values[key].append(value)
        else:
            values[key] = value
        self.args.given.add(key)

    def error(self, message: str) -> UsageError:
        return usage_error(message, self.name)


def usage_error(message: str, name: str, *, code: int = 125) -> UsageError:
    """A UsageError that points to the help of command `name`; docker ends with 125, or 1 for counts."""
    error = UsageError(message.replace("\n", "\\n"), hint=f"see '{f'nacre {name}'.strip()} --help'")
    error.exit_code = code
    return error


def _check_count(arguments: str, args: Args) -> None:
    least, most = arity(arguments)
    count = len(args.positionals)
    if least <= count and (most is None or count <= most):
        return
    if most == 0:
        demand = "accepts no arguments"
    elif most == least:
        demand = f"requires {_arguments(least)}"
    elif count < least:
        demand = f"requires at least {_arguments(least)}"
    else:
        demand = f"requires at most {_arguments(most or 0)}"
    raise usage_error(f"'nacre {args.command}' {demand}", args.command, code=1)


def _arguments(count: int) -> str:
    return f"{count} argument{'s' if count != 1 else ''}"


def arity(arguments: str) -> tuple[int, int | None]:
    """Least and most positionals that a usage line allows; most None is no limit."""
    least = most = 0
    endless = alternative = False
    for word in arguments.split():
        if word == "|" or alternative:
            alternative = word == "|"
            continue
        endless = endless or "..." in word
        least += word[0] != "["
        most += 1
    return least, None if endless else most


def _reader(kind: str) -> Callable[[str], Any]:
    from .values import READERS

    return READERS[kind]


def _read_text(written: str) -> str:
    return written


def _read_network(written: str) -> str:
    """Most often a name alone, as every start of a container may have it."""
    return written if written and "=" not in written else str(_reader("network")(written))


def _read_bool(written: str) -> bool:
    if written not in _TRUE and written not in _FALSE:
        raise ValueError("not a boolean (true or false)")
    return written in _TRUE


def _read_int(written: str) -> int:
    digits = written[1:] if written[:1] in ("-", "+") else written
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise ValueError("not a whole number")
    return int(written)


def read_bytes(written: str) -> int:
    """A size in binary units. Raises ValueError."""
    from ..words.sizes import read_size

    return read_size(written)


_READERS: dict[str, Callable[[str], Any]] = {
    "text": _read_text, "bool": _read_bool, "int": _read_int, "bytes": read_bytes,
    "network": _read_network,
}  # fmt: skip
