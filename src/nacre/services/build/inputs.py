"""Where a build takes Dockerfile and context from: a folder, a file elsewhere, or standard input.

    CONTEXT    a folder, or "-": a tar with the context, or the Dockerfile alone
    FILE       "" is CONTEXT/Dockerfile, else CONTEXT/dockerfile; "-" is standard input; else a path (in a
               tar: a name in it)
    ignored    FILE.dockerignore beside the Dockerfile, else CONTEXT/.dockerignore

What is found inside a context is opened inside it: a link there that leads out of it leads nowhere.
"""

from __future__ import annotations

import os
from contextlib import suppress

from ...grammars.dockerfile.ignore import Ignore, read_ignore
from ...ground.files import Root, os_errors, read_bounded
from ...words.errors import DockerfileError, NotFound, UsageError
from ...words.value import Value
from .projects import is_there, project_file
from .scratch import ScratchDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.tar.entry import Reader
    from ...stores.store import Store

MAX_DOCKERFILE = 4 << 20
_REMOTE = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")
_HEAD = 1 << 10


class Inputs(Value):
    """What to build: `folder` the context, `dockerfile` the text and `name` how messages call it.

    `time_ns` is when the Dockerfile was changed last, 0 where nobody knows. `is_project`: there is none,
    and the folder holds a Python project, of which `name` is the file that says so.
    `scratch` holds a context that had to be unpacked; `close`, or `with`, lets go of it.
    """

    folder: str
    dockerfile: str
    name: str = "Dockerfile"
    ignore: Ignore = Ignore()
    scratch: ScratchDirectory | None = None
    time_ns: int = 0
    is_project: bool = False

    def close(self) -> None:
        """Remove what was unpacked. Idempotent."""
        if self.scratch is not None:
            self.scratch.close()

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def load(store: Store, context: str, file: str = "", *, stdin: Reader | None = None) -> Inputs:
    """Find and read the inputs; `store` gives room for what must be unpacked.

    Raises UsageError, NotFound, DockerfileError, InvalidArchive, StoreError.
    """
    if context == "-":
        if stdin is None or file == "-":
            raise UsageError("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stdin(store, stdin, file)
    if context.startswith(_REMOTE):
        raise UsageError(
            f"unable to prepare context: {context!r} is remote", hint="clone it, and build the directory"
        )
    if not os.path.isdir(context):
        raise NotFound(f"unable to prepare context: path {context!r} not found or not a directory")
    if file == "-":
        text = _decoded(_read_stream(stdin, b""), "Dockerfile")
        return Inputs(context, text, "Dockerfile", _ignore(context, "Dockerfile", ""))
    return _from_folder(context, file)


def _from_folder(context: str, file: str, name: str = "") -> Inputs:
    path = file or os.path.join(context, _default_name(context))
    name = name or os.path.relpath(path) if file else "Dockerfile"
    folder, inner = _place(context, path)
    with _inside(folder) as root:
        if not file and not is_there(root, inner) and (project := project_file(root)):
            return Inputs(context, "", project, _ignore(context, project, ""), is_project=True)
        data, time_ns = _read(root, inner, path)
    return Inputs(context, _decoded(data, name), name, _ignore(context, name, path), time_ns=time_ns)


def _default_name(context: str) -> str:
    """The name in lower case only if the usual one is not there, as docker does."""
    with _inside(context) as root:
        for name in ("Dockerfile", "dockerfile"):
            with suppress(OSError):
                os.close(root.open(name, os.O_PATH))
                return name
    return "Dockerfile"


def _place(context: str, path: str) -> tuple[str, str]:
    """The folder that a file must not lead out of, and its name in there: the context, if it is in it."""
    inner = os.path.relpath(path, context)
    if inner.split(os.sep, 1)[0] != os.pardir:
        return context, inner
    return os.path.dirname(path) or ".", os.path.basename(path)


def _inside(folder: str) -> Root:
    try:
        return Root(folder)
    except OSError as error:
        raise NotFound(f"unable to prepare context: path {folder!r}: {error.strerror}") from None


def _read(root: Root, name: str, shown: str) -> tuple[bytes, int]:
    """A Dockerfile, and when it was changed."""
    try:
        fd = root.open_file(name)
    except NotFound:
        raise NotFound(f"failed to read dockerfile: open {shown}: no such file or directory") from None
    try:
        with os_errors(f"read {shown}"):
            data = read_bounded(lambda count: os.read(fd, count), MAX_DOCKERFILE, shown)
            return data, os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)


def _ignore(context: str, name: str, path: str) -> Ignore:
    """The patterns that hold for this Dockerfile."""
    if path:
        folder, inner = _place(context, path)
        with _inside(folder) as root:
            found = _patterns(root, f"{inner}.dockerignore", f"{name}.dockerignore")
        if found is not None:
            return found
    with _inside(context) as root:
        return _patterns(root, ".dockerignore", ".dockerignore") or Ignore()


def _patterns(root: Root, file: str, name: str) -> Ignore | None:
    try:
        data = root.read(file, MAX_DOCKERFILE)
    except NotFound:
        return None
    return read_ignore(data.decode("utf-8", "surrogateescape"), name)


def _decoded(data: bytes, name: str) -> str:
    if not data:
        raise DockerfileError("the Dockerfile cannot be empty", file=name, line=1)
    return data.decode("utf-8", "surrogateescape")


def _read_stream(stream: Reader | None, head: bytes) -> bytes:
    pieces, total = [head], len(head)
    while stream is not None and (data := stream.read(1 << 16)):
        pieces.append(data)
        total += len(data)
        if total > MAX_DOCKERFILE:
            raise UsageError(f"the Dockerfile on standard input has more than {MAX_DOCKERFILE} bytes")
    return b"".join(pieces)


def _from_stdin(store: Store, stdin: Reader, file: str) -> Inputs:
    head = stdin.read(_HEAD)
    scratch = ScratchDirectory(store)
    folder = scratch.path
    try:
        if not _is_tar(head):
            text = _decoded(_read_stream(stdin, head), "Dockerfile")
            return Inputs(folder, text, "Dockerfile", scratch=scratch)
        from ...grammars.codecs.stream import PrefixedReader

        _unpack(PrefixedReader(head, stdin), folder)
        inputs = _from_folder(folder, os.path.join(folder, file) if file else "", file)
        return inputs.replace(scratch=scratch)
    except BaseException:
        scratch.close()
        raise


def _is_tar(head: bytes) -> bool:
    from ...grammars.codecs.stream import sniff

    return bool(sniff(head)) or head[257:262] == b"ustar"


def _unpack(stream: Reader, folder: str) -> None:
    from ...grammars.codecs.stream import decompress
    from ...ground.extract import Form, apply

    with os_errors(f"unpack the context into {folder}"), Root(folder) as root:
        apply(decompress(stream), root.fd, Form(whiteouts="delete", owners=False, devices=False))
