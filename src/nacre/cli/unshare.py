"""`nacre unshare`: a command inside the user namespace in which an ordinary user's store is kept."""

from __future__ import annotations

import os

from ..words.errors import CommandNotExecutable, CommandNotFound, UsageError
from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Enter the namespace and become the program; the store stays the same one in there."""
    from ..ground import userns

    if context.uid == 0:
        raise UsageError("'nacre unshare' is for ordinary users: root needs no user namespace")
    userns.enter()
    environment = {**context.environment, "NACRE_ROOT": context.root}
    argv = args.positionals or [context.environment.get("SHELL") or "/bin/sh"]
    context.stdout.flush()
    _become(argv, environment)
    return 0


def _become(argv: list[str], environment: dict[str, str]) -> None:
    from shutil import which
    from signal import SIG_DFL, SIGPIPE, signal

    path = argv[0] if "/" in argv[0] else which(argv[0], path=environment.get("PATH"))
    if path is None:
        raise CommandNotFound(f'exec: "{argv[0]}": executable file not found in $PATH')
    signal(SIGPIPE, SIG_DFL)  # Python ignores it, and what is ignored stays so
    try:
        os.execve(path, argv, environment)
    except FileNotFoundError:
        raise CommandNotFound(f'exec: "{argv[0]}": no such file or directory') from None
    except OSError as error:
        raise CommandNotExecutable(f'exec: "{argv[0]}": {(error.strerror or "").lower()}') from None


COMMAND = Command(
    arguments="[COMMAND [ARG...]]",
    run=run,
    interspersed=False,
    store=False,
    failure=125,
    details="The default COMMAND is a shell ($SHELL or /bin/sh). Inside, you are root, files of "
    "containers and "
    "volumes have the owners that containers see, and mounts end with the last process.",
)
