"""What the commands that write archives share."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ..words.errors import StoreError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from .context import Context

    Write = Callable[[bytes], object]


def write_out(
    context: Context, path: str, fill: Callable[[Write], object], what: str, mode: int = 0o666
) -> None:
    """Let `fill` write to the file `path`, which appears only when it is whole, or to standard output.

    A new file has `mode` without the umask. Raises UsageError when the output is a terminal, StoreError.
    """
    if not path:
        if context.stdout.isatty():
            raise UsageError(f"cowardly refusing to {what} to a terminal. Use the -o flag or redirect")
        output = context.output
        fill(output.write)
        output.flush()
    elif os.path.exists(path) and not os.path.isfile(path):
        _append(path, fill)  # a pipe or a device: nothing to replace
    else:
        _replace(path, fill, mode)


def _append(path: str, fill: Callable[[Write], object]) -> None:
    with _named(path), _open(path) as file:
        fill(file.write)


def _replace(path: str, fill: Callable[[Write], object], mode: int) -> None:
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with _named(path):
            with _open(temporary, mode) as file:
                fill(file.write)
            os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _open(path: str, mode: int = 0o666) -> BinaryIO:
    return open(path, "wb", buffering=1 << 20, opener=lambda name, flags: os.open(name, flags, mode))


@contextmanager
def _named(path: str) -> Iterator[None]:
    """An error names the file; a reader of a pipe that has gone is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(f"cannot write {path}: {(error.strerror or '').lower()}") from None
