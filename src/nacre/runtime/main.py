"""The entry of `nacre-runtime`: global flags, the command, and errors as sentences. Source: runc(8)."""

from __future__ import annotations

import os
import sys

from .. import __version__
from ..words.errors import NacreError, UsageError
from .arguments import SWITCH, TEXT, CommandFlags, parse
from .log import RuntimeLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_GLOBAL = CommandFlags(
    {"root": TEXT, "log": TEXT, "log-format": TEXT, "debug": SWITCH, "systemd-cgroup": SWITCH,
     "version": SWITCH, "help": SWITCH},
    short={"v": "version", "h": "help"},
)  # fmt: skip
_SPEC = "1.2.0"
_HELP = """Usage: nacre-runtime [FLAGS] COMMAND [ARG...]

Containers of OCI bundles, as podman, containerd, docker and buildah ask a runtime for them.

Commands:
  create    Make a container from a bundle
  start     Run the program of a container that was created
  run       Create and start a container, and stay with it
  state     Print the state of a container
  kill      Send a signal to a container (SIGTERM if none is given)
  delete    Remove a container that has stopped
  exec      Run one more program in a container
  list      List containers
  ps        List the processes of a container
  pause     Let all processes of a container stand still
  resume    Let them go on
  update    Change the resource limits of a container
  spec      Write a config.json to begin with
  features  Print what this runtime can do

Flags:
  --root DIR           Where the state of containers is kept
  --log FILE           Write errors to a file as well
  --log-format FORMAT  text or json (default text)
  --debug              Show the traceback of an error
  -v, --version        Print version information and quit
"""


def entry() -> None:
    """The console script: run and leave at once."""
    _open_streams()
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    finally:
        os._exit(code)


def _open_streams() -> None:
    """What the caller has closed is /dev/null, or the next file that is opened would be an output."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDWR)


def main(words: Sequence[str]) -> int:
    """Run a command line; the exit code."""
    log, debug = RuntimeLog(), False
    try:
        given = parse(words, _GLOBAL, "", whole=False)
        debug = given.switch("debug")
        log = RuntimeLog(given.text("log"), given.text("log-format"))
        if given.switch("version"):
            print(f"nacre-runtime version {__version__}\nspec: {_SPEC}")
            return 0
        if given.switch("help") or given.arguments[:1] in ([], ["help"]):
            print(_HELP, end="")
            return 0 if given.arguments or given.switch("help") else 1
        if given.switch("systemd-cgroup"):
            raise UsageError("--systemd-cgroup is not supported", hint="use the cgroupfs driver")
        from .commands import run_command

        return run_command(given.text("root") or default_root(), given.arguments, log)
    except NacreError as error:
        if debug:
            raise
        return _tell(error, log)
    except OSError as error:
        if debug:
            raise
        return _tell(UsageError(f"{error.filename or 'the system'}: {error.strerror}"), log)


def _tell(error: NacreError, log: RuntimeLog) -> int:
    text = f"{error.message} ({error.hint})" if error.hint else error.message
    print(text, file=sys.stderr)
    log.write("error", text)
    return getattr(error, "runtime_code", 1)


def default_root() -> str:
    """Beneath /run, for an ordinary user beneath XDG_RUNTIME_DIR. Raises UsageError.

    Also where a user is root of a user namespace, as with podman.
    """
    from ..ground.userns import is_first

    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.geteuid() == 0 and (is_first() or not folder):
        return "/run/nacre-runtime"
    if not folder.startswith("/"):
        raise UsageError("XDG_RUNTIME_DIR is not set", hint="set it, or use --root")
    return f"{folder}/nacre-runtime"
