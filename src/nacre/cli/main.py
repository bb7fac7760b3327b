"""The command line's entry, and the seam where errors become sentences and exit codes."""

from __future__ import annotations

import gc
import os
import sys
from _codecs import register_error

# `signal` imports `enum`, which costs more than everything else here; this is the C module beneath it.
from _signal import (  # type: ignore[import-not-found]
    ITIMER_REAL,
    SIG_DFL,
    SIGALRM,
    SIGCHLD,
    SIGHUP,
    SIGINT,
    SIGTERM,
    default_int_handler,
    setitimer,
    signal,
)

from .. import __version__
from ..words.errors import NacreError, NotFound
from .commands import ALIASES, COMMANDS, COMMON, Group, load
from .context import DRIVERS, POLICIES, Context, visible
from .options import Args, Command, HelpWanted, choice, flag, parse, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .commands import CommandEntry

GLOBAL = (
    flag("-D, --debug", "Show the traceback of an error"),
    text(
        "--root",
        "Directory of the store (default NACRE_ROOT, /var/lib/nacre or ~/.local/share/nacre)",
        type="path",
    ),
    choice("--storage-driver", "Storage driver for new layers", DRIVERS),
    choice(
        "--layer-blobs", "Keep pulled layers in compressed form: keep, drop or auto (default auto)", POLICIES
    ),
    flag("-v, --version", "Print version information and quit"),
)
_LINE = Command("[COMMAND] [ARG...]", run=lambda _context, _args: 0, options=GLOBAL, interspersed=False)
_FAREWELL = 1.0
_MOMENT = 0.001
_YOUNG = 200_000
"""New objects before the collector looks for cycles, of which we make few: it took 3 % of a pull."""
_BARE = Command("", run=lambda _context, _args: 0)


class Terminated(BaseException):
    """SIGTERM or SIGHUP came; raised so that `with` and `finally` clean up on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def entry() -> None:
    """The console script: run and leave at once.

    The interpreter's own farewell (collecting, joining threads) would cost milliseconds, and a thread
    that waits on a dead network would hold up ctrl-C.
    """
    signal(SIGINT, SIG_DFL)  # until `main` deals with it: there is nothing to clean up yet
    gc.set_threshold(_YOUNG)
    _open_streams()
    sys.unraisablehook = _once_more
    try:
        code = main()
        if code > 128:
            _let_threads_end()
    except (KeyboardInterrupt, Terminated):  # once more, while the first was being told of
        code = 130
    os._exit(code)


def _once_more(lost: sys.UnraisableHookArgs) -> None:
    """An interrupt that falls into a callback of the interpreter (of a weak reference, say) is lost there.

    So it is sent again a moment later, when the callback is over.
    """
    if not issubclass(lost.exc_type, (KeyboardInterrupt, Terminated)):
        sys.__unraisablehook__(lost)
        return
    signal(SIGALRM, _stop if lost.exc_type is Terminated else default_int_handler)
    setitimer(ITIMER_REAL, _MOMENT)


def _let_threads_end() -> None:
    """After an interrupt: a moment for threads to remove what they were making, not for a dead network."""
    threading = sys.modules.get("threading")
    if threading is None:
        return
    from time import monotonic

    end = monotonic() + _FAREWELL
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(max(0.0, end - monotonic()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process); returns its exit code, raises nothing."""
    outcome = _Outcome()
    code = outcome.of(lambda: _handled(sys.argv[1:] if argv is None else argv, outcome))
    return outcome.of(_flush) or code


def _handled(argv: Sequence[str], outcome: _Outcome) -> int:
    for number in (SIGTERM, SIGHUP):
        signal(number, _stop)
    signal(SIGINT, default_int_handler)
    signal(SIGCHLD, SIG_DFL)  # ignored, as some parents have it, it takes the exit codes of children
    return _run(argv, outcome)


def _stop(number: int, _frame: object) -> None:
    raise Terminated(SIGTERM if number == SIGALRM else number)


def _run(argv: Sequence[str], outcome: _Outcome) -> int:
    try:
        line = parse(_LINE, argv)
    except HelpWanted:
        return _help([])
    outcome.debug = line.debug
    if line.version:
        print(f"nacre version {__version__}")
        return 0
    words = line.positionals
    if not words or words[0] == "help":
        return _help(words[1:])
    name, place, rest = lookup(words)
    if isinstance(place, Group):
        return _group(name, rest)
    command = load(name, place)
    try:
        args = parse(command, rest, name)
    except HelpWanted:
        return _help(name.split())
    outcome.failure = command.failure
    return _command(command, line, args)


def lookup(words: Sequence[str]) -> tuple[str, CommandEntry | Group, Sequence[str]]:
    """The command that a line begins with: its full name, its place, the words after it.

    A group alone, or followed by an option, gives the group. Raises NotFound with a suggestion.
    """
    first, rest = ALIASES.get(words[0], words[0]), words[1:]
    entry = COMMON.get(first) or COMMANDS.get(first)
    if entry is not None:
        return first, entry, rest
    from .groups import GROUPS

    group = GROUPS.get(first)
    if group is None:
        raise _unknown(first, first, [*COMMON, *COMMANDS, *GROUPS, "help"], "")
    rest = _moved(rest) if group.commands is GROUPS["buildx"].commands else rest
    return _within(first, group, rest)


def _within(first: str, group: Group, rest: Sequence[str]) -> tuple[str, CommandEntry | Group, Sequence[str]]:
    if not rest or rest[0].startswith("-"):
        return first, group, rest
    second = group.aliases.get(rest[0], rest[0])
    for count in (3, 2):
        if (name := " ".join(rest[:count])) in group.commands and count <= len(rest):
            return f"{first} {name}", group.commands[name], rest[count:]
    begins = {name.split()[0] for name in group.commands}
    if second in begins - {*group.commands}:
        if not "".join(rest[1:2]).strip("-h"):
            return first, group, rest[1:]
        raise _unknown(f"{first} {name}", name, [*group.commands], f"{first} ")
    if second not in group.commands:
        raise _unknown(f"{first} {second}", second, [*begins, *group.aliases], f"{first} ")
    return f"{first} {second}", group.commands[second], rest[1:]


def _moved(words: Sequence[str]) -> Sequence[str]:
    """`--builder NAME`, which may stand before a command, behind it."""
    if words and words[0].startswith("--builder="):
        return [*words[1:2], words[0], *words[2:]]
    return [words[2], *words[:2], *words[3:]] if len(words) > 2 and words[0] == "--builder" else words


def _unknown(shown: str, word: str, known: list[str], prefix: str) -> NotFound:
    from difflib import get_close_matches

    close = get_close_matches(word, known, 1, 0.7)
    help_line = f"see 'nacre {prefix}--help'"
    hint = f"did you mean 'nacre {prefix}{close[0]}'? {help_line}" if close else help_line
    return NotFound(f"unknown command: nacre {shown}", hint=hint)


def _command(command: Command, line: Args, args: Args) -> int:
    with Context(
        root=line.root, driver=line.storage_driver, layer_blobs=line.layer_blobs, debug=line.debug
    ) as context:
        try:
            if command.store:
                context.engine.enter()
            return command.run(context, args) or 0
        except (AttributeError, LookupError, TypeError, ValueError):
            context.refuse_damaged()
            raise


def _group(name: str, rest: Sequence[str]) -> int:
    try:
        parse(_BARE, rest, name)
    except HelpWanted:
        return _help([name])
    return _help([name])


def _help(words: Sequence[str]) -> int:
    from . import help as pages

    if not words:
        print(pages.overview(GLOBAL))
        return 0
    name, place, _ = lookup(words)
    print(pages.of_group(name, place) if isinstance(place, Group) else pages.of_command(name, place))
    return 0


class _Outcome:
    """Turns whatever ends a command into an exit code and at most a few lines on standard error.

    `failure` is the code of errors that have none of their own: docker run keeps 1 for the program.
    """

    def __init__(self) -> None:
        self.debug = False
        self.failure = 1
        self.told = False

    def of(self, action: Callable[[], int]) -> int:
        try:
            return action()
        except NacreError as error:
            return self._tell(error.message, error.hint, self._code(error))
        except KeyboardInterrupt:
            return 130
        except Terminated as stopped:
            return stopped.code
        except BrokenPipeError:
            return _drop_output()
        except OSError as error:
            return self._tell(_sentence(error), "", self.failure)
        except UnicodeEncodeError as error:  # an argument with other bytes reached a database or a document
            return self._tell(f"{error.object[:200]!r} is not valid UTF-8", "", self.failure)
        except Exception as error:
            if isinstance(error, ImportError) and "Too many open files" in str(error):
                return self._tell("cannot load a Python module: too many open files", "", self.failure)
            if isinstance(error, ImportError) and "shared object" in str(error):
                what = f"a library that nacre needs is missing on this machine: {error}"
                return self._tell(what, "", self.failure)
            hint = "this is a bug in nacre; run it again with --debug and report what it prints"
            return self._tell(f"internal error: {type(error).__name__}: {error}", hint, self.failure)

    def _code(self, error: NacreError) -> int:
        own = "exit_code" in error.__dict__ or error.exit_code != 1
        return error.exit_code if own else self.failure

    def _tell(self, message: str, hint: str, code: int) -> int:
        if self.debug:
            import traceback

            traceback.print_exc()
        if self.told:  # the output that could not be written is flushed once more
            return code
        self.told = True
        lines = visible(f"nacre: {message}\n" + (f"hint: {hint}\n" if hint else ""))
        for attempt in (sys.stdout.flush, lambda: sys.stderr.write(lines), sys.stderr.flush):
            try:
                attempt()
            except OSError:
                continue
        return code


def _sentence(error: OSError) -> str:
    what = error.strerror or str(error)
    name = error.filename
    if isinstance(error, FileNotFoundError) and str(name).startswith("/proc/self/"):
        return "nacre needs /proc, which is not mounted"
    if isinstance(name, str | bytes):
        return f"{os.fsdecode(name)}: {what}"
    return (_sentence_of_cwd(error) or _sentence_of_output(error)) or what


def _sentence_of_cwd(error: OSError) -> str:
    """A relative path means nothing in a directory that was removed: getcwd(2)."""
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()
        except FileNotFoundError:
            return "the current directory no longer exists"
    return ""


def _sentence_of_output(error: OSError) -> str:
    """What could not be written is still there, and fails again."""
    try:
        sys.stdout.flush()
    except OSError as again:
        if again.errno == error.errno:
            return f"cannot write to standard output: {error.strerror}"
    return ""


def _flush() -> int:
    sys.stdout.flush()
    return 0


def _drop_output() -> int:
    """The reader went away (`| head`): say nothing, end as if SIGPIPE had ended us."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return 141


def _open_streams() -> None:
    """Standard streams that are closed become /dev/null, or the next file opened would take their place."""
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, stream) is None:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, stream, os.fdopen(number, "w" if number else "r"))
    register_error("nacre", _bytes)
    sys.stdout.reconfigure(errors="nacre")  # type: ignore[union-attr]


def _bytes(error: UnicodeError) -> tuple[bytes, int]:
    """Bytes that were no UTF-8 as they were; U+FFFD for any other surrogate, which a document may hold."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    chars = error.object[error.start : error.end]
    pieces = [
        bytes([ord(char) - 0xDC00]) if "\udc80" <= char <= "\udcff" else b"\xef\xbf\xbd" for char in chars
    ]
    return b"".join(pieces), error.end
