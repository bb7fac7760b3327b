"""Help in docker's layout. Imported only when somebody asks for help."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from .commands import COMMANDS, COMMON, CommandEntry, Group, load
from .groups import GROUPS
from .options import Command, Option

_GUTTER = 3
_NARROWEST = 24


def overview(globals_: Sequence[Option]) -> str:
    """What `nacre --help` prints."""
    blocks = [
        "Usage:  nacre [OPTIONS] COMMAND",
        "Container images without a daemon",
        _commands("Common Commands", COMMON),
        _commands("Management Commands", GROUPS),
        _commands("Commands", COMMANDS),
        _options("Global Options", globals_),
        "Run 'nacre COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(blocks)


def of_group(name: str, group: Group) -> str:
    """What `nacre image --help` prints."""
    blocks = [
        f"Usage:  nacre {name} COMMAND",
        group.summary,
        _commands("Commands", group.commands),
        f"Run 'nacre {name} COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(blocks)


def of_command(name: str, entry: CommandEntry) -> str:
    """What `nacre run --help` prints. Imports the command."""
    command = load(name, entry)
    blocks = [usage(name, command), entry.summary, _filled(command.details), _aliases(name, entry)]
    return "\n\n".join([*filter(None, blocks), *filter(None, [_options("Options", command.options)])])


def usage(name: str, command: Command) -> str:
    """`Usage:  nacre run [OPTIONS] IMAGE [COMMAND] [ARG...]`."""
    visible = any(not option.hidden for option in command.options)
    words = ["Usage:  nacre", name, "[OPTIONS]" if visible else "", command.arguments]
    return " ".join(filter(None, words))


def _filled(details: str) -> str:
    """Lines that are too wide for the terminal are wrapped; the others stay as they are."""
    return "\n".join(
        textwrap.fill(line, max(_columns(), _NARROWEST), break_on_hyphens=False)
        for line in details.split("\n")
    )


def _aliases(name: str, entry: CommandEntry) -> str:
    names = [first for first, other in {**COMMON, **COMMANDS}.items() if other == entry]
    for title, group in GROUPS.items():
        inside = [first for first, other in group.commands.items() if other == entry]
        inside += [alias for alias, first in group.aliases.items() if first in inside]
        names += [f"{title} {first}" for first in inside]
    if names == [name]:
        return ""
    return "Aliases:\n  " + ", ".join(f"nacre {one}" for one in names)


def _commands(title: str, table: Mapping[str, CommandEntry] | Mapping[str, Group]) -> str:
    width = max(10, *(len(name) + 2 for name in table))
    return f"{title}:\n" + "\n".join(f"  {name:{width}}  {row.summary}" for name, row in table.items())


def _options(title: str, options: Iterable[Option]) -> str:
    shown = sorted((option for option in options if not option.hidden), key=lambda option: option.name)
    if not shown:
        return ""
    left = [_left(option) for option in shown]
    width = max(map(len, left)) + _GUTTER
    room = max(_columns() - width, _NARROWEST)
    lines = [_row(start, option, width, room) for start, option in zip(left, shown, strict=True)]
    return f"{title}:\n" + "\n".join(lines)


def _columns() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def _left(option: Option) -> str:
    short = f"-{option.short}, " if option.short else "    "
    return f"  {short}--{option.name}" + (f" {option.type}" if option.type else "")


def _row(start: str, option: Option, width: int, room: int) -> str:
    text = option.help
    if option.default and not option.many:
        text += f" (default {_default(option.default)})"
    lines = textwrap.wrap(text, room) or [""]
    return "\n".join([f"{start:{width}}{lines[0]}", *(" " * width + line for line in lines[1:])])


def _default(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
