"""`nacre version`: the versions of nacre and of what it stands on."""

from __future__ import annotations

import os
import platform

from .. import __version__
from .options import Command, text
from .output import inspect_one, print_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print the version, or all fields with `--format`."""
    system = os.uname()
    fields = {
        "Version": __version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Os": "linux",
        "Arch": system.machine,
        "KernelVersion": system.release,
    }
    if args.format:
        from .documents.system import version_document

        inspect_one(context, version_document(fields), args.format)
    else:
        print_fields(context, "", fields, title="nacre")
    return 0


COMMAND = Command(
    arguments="",
    run=run,
    options=(text("-f, --format", "Format output: 'json' or a Go template"),),
    store=False,
)
