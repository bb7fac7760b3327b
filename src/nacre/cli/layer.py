"""`nacre layer`: layers as tars in pipes; no store is needed, nor root."""

from __future__ import annotations

from ..words.errors import UsageError
from .options import Command, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from ..grammars.tar.entry import Entry
    from .context import Context
    from .options import Args

_LETTERS = {
    "file": "-", "dir": "d", "symlink": "l", "hardlink": "h", "char": "c", "block": "b", "fifo": "p",
}  # fmt: skip


def apply(context: Context, args: Args) -> int:
    """Make a layer from standard input beneath a folder, with what the folder has as the layers below."""
    unkept = context.engine.layers.apply(_input(context), args.positionals[0])
    if unkept:
        context.warn(f"{unkept} entries have an owner, a device or an attribute that could not be set")
    return 0


def ls(context: Context, args: Args) -> int:
    """A line for every entry, in the order of the tar, as it is read."""
    origin = args.positionals[0] if args.positionals else "-"
    for entry in context.engine.layers.entries(_input(context) if origin == "-" else origin):
        _show(context, entry, args.format)
    return 0


def _input(context: Context) -> IO[bytes]:
    if context.stdin.isatty():
        raise UsageError("refusing to read a layer from a terminal. Redirect a tar into standard input")
    return context.input


def _show(context: Context, entry: Entry, form: str) -> None:
    from .output import inspect_one

    if form:
        inspect_one(context, _fields(entry), form)
    else:
        context.print(line(entry))


def line(entry: Entry) -> str:
    """An entry as `ls -l` has it, its time in UTC."""
    from stat import filemode
    from time import gmtime, strftime

    device = entry.kind in ("char", "block")
    size = f"{entry.major}, {entry.minor}" if device else str(entry.size)
    moment = strftime("%Y-%m-%d %H:%M:%S", gmtime(entry.mtime_ns // 1_000_000_000))
    arrow = {"symlink": " -> ", "hardlink": " link to "}.get(entry.kind, "")
    owner = f"{entry.uid}:{entry.gid}"
    name = (_text(entry.path) or ".") + "/" * (entry.kind == "dir")
    mode = _LETTERS[entry.kind] + filemode(entry.mode)[1:]
    return f"{mode} {owner:>11} {size:>10} {moment} {name}{arrow}{_text(entry.link)}"


def _text(path: bytes) -> str:
    """Printable, whatever it is: a name must not move the cursor."""
    shown = path.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown)


def _fields(entry: Entry) -> dict[str, object]:
    from ..grammars.layer.whiteouts import whiteout

    mark = whiteout(entry.path)
    return {
        "Path": entry.path.decode("utf-8", "backslashreplace"),
        "Kind": {"remove": "whiteout", "opaque": "opaque"}.get(mark[0], entry.kind) if mark else entry.kind,
        "Mode": f"{entry.mode:04o}",
        "Uid": entry.uid,
        "Gid": entry.gid,
        "Size": entry.size,
        "ModTime": entry.mtime_ns / 1_000_000_000,
        "Link": entry.link.decode("utf-8", "backslashreplace"),
        "Device": [entry.major, entry.minor],
        "Xattrs": {
            name.decode("utf-8", "backslashreplace"): value.decode("latin-1") for name, value in entry.xattrs
        },
        "Sparse": entry.sparse is not None,
    }


def diff(context: Context, args: Args) -> int:
    """Write the layer that makes the second folder of the first."""
    from .files import write_out

    (old, new), diff = args.positionals, context.engine.layers.diff
    write_out(context, args.output, lambda write: diff(old, new, write), "write a tar")
    return 0


APPLY = Command(
    "DIR",
    apply,
    details="Reads the layer from STDIN: a tar, plain or compressed with gzip, zstd, xz or bzip2. Whiteouts "
    "delete files in DIR; nothing outside it is touched. An ordinary user owns all created files.",
    store=False,
)
LS = Command(
    "[FILE|-]",
    ls,
    options=(text("--format", "Format output: 'json' or a Go template"),),
    details="Prints mode, owner, size, time (UTC) and name of each entry, in the order of the tar.",
    store=False,
)
DIFF = Command(
    "OLD NEW",
    diff,
    options=(text("-o, --output", "Write to a file, instead of STDOUT", type="file"),),
    details="OLD and NEW are directories. The tar holds the files of NEW that differ from OLD, and "
    "whiteouts for deleted ones. It is sorted, with times in whole seconds: the same directories give the "
    "same "
    "bytes.",
    store=False,
)
