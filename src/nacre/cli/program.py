"""What the commands that run a program have in common: its terminal and its environment."""

from __future__ import annotations

import os

from ..words.errors import StoreError, UsageError
from .options import usage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ground.sandbox import Stdio
    from .context import Context
    from .options import Args

_MOST = 16 << 20


def check_terminal(args: Args) -> None:
    """Raise UsageError when `-it` is wanted where there is no terminal."""
    if args.tty and args.interactive and not args.detach and not os.isatty(0):
        error = UsageError("the input device is not a TTY", hint="leave out -t")
        error.exit_code = 1
        raise error


def with_keys(context: Context, args: Args, stdio: Stdio) -> Stdio:
    """And the keys that leave the container alone, where they can be typed."""
    if not (stdio.tty and stdio.stdin >= 0):
        return stdio
    from .detachkeys import detach_keys

    return stdio.replace(detach=detach_keys(context, args))


def environment(context: Context, args: Args) -> Iterator[str]:
    """`NAME=value` as given; `NAME` alone takes its value from our environment, if it has one there."""
    written = [item for path in args.env_file for item in _env_file(context, path)] + args.env
    for item in written:
        name, equals, _ = item.partition("=")
        if not name:
            raise usage_error(f"invalid environment variable: {item}", args.command)
        if equals:
            yield item
        elif name in context.environment:
            yield f"{name}={context.environment[name]}"
        else:
            yield name


def _env_file(context: Context, path: str) -> Iterator[str]:
    """A name alone that our environment lacks is left out, other than on the line."""
    from ..grammars.envfile import read_variables

    for item in read_variables(read_small(path), path):
        if "=" in item:
            yield item
        elif item in context.environment:
            yield f"{item}={context.environment[item]}"


def read_small(path: str) -> bytes:
    """A file of options, at most 16 MiB. Raises UsageError, StoreError."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MOST + 1)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > _MOST:
        raise UsageError(f"{path} is larger than 16 MiB")
    return data
