"""`nacre save`: images as one tar."""

from __future__ import annotations

import os

from ..words.errors import StoreError, UsageError
from .options import Command, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Write to a file, which appears only when it is whole, or to standard output."""
    from ..images.archive import save

    if args.output:
        _to_file(context, args.output, args.positionals)
        return 0
    if context.stdout.isatty():
        raise UsageError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    output = context.output
    save(context.store, args.positionals, output.write)
    output.flush()
    return 0


def _to_file(context: Context, path: str, names: list[str]) -> None:
    from ..images.archive import save

    if os.path.exists(path) and not os.path.isfile(path):
        with _open(path) as file:  # a pipe or a device: nothing to replace
            save(context.store, names, file.write)
        return
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with _open(temporary) as file:
            save(context.store, names, file.write)
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {(error.strerror or '').lower()}") from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "wb", buffering=1 << 20)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {(error.strerror or '').lower()}") from None


COMMAND = Command(
    arguments="IMAGE [IMAGE...]",
    run=run,
    options=(text("-o, --output", "Write to a file, instead of STDOUT", type="file"),),
    details="The tar is an OCI image layout and a docker-archive at once.",
)
