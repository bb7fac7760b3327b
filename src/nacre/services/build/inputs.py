"""Where a build takes Dockerfile and context from: a folder, an archive, standard input, or elsewhere.

    CONTEXT    a folder; a tar; "-": a tar, or the Dockerfile alone; a repository or a URL (`remotecontext`)
    FILE       "" is CONTEXT/Dockerfile, else CONTEXT/dockerfile; "-" is standard input; a URL; else a path,
               a name in a context that is no folder of this machine
    ignored    of a folder: FILE.dockerignore beside the Dockerfile, else CONTEXT/.dockerignore

What is found inside a context is opened inside it: a link there that leads out of it leads nowhere.
"""

from __future__ import annotations

import os

from ...grammars.dockerfile.ignore import Ignore, read_ignore
from ...grammars.dockerfile.namedcontext import is_url, repository_of
from ...ground.files import Root, os_errors, read_bounded
from ...words.errors import DockerfileError, NotFound, UsageError
from ...words.light import contextmanager, suppress
from ...words.value import Value
from .context import BuildContext
from .filehash import FileHashes
from .items import raw, resolve
from .projects import is_there, project_file
from .scratch import ScratchDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from .context import ContextFiles
    from .remotecontext import RemoteContexts

MAX_DOCKERFILE = 4 << 20


class Inputs(Value):
    """What to build: `folder` the context, `dockerfile` the text and `name` how messages call it.

    `time_ns` is when the Dockerfile was changed last, 0 where nobody knows. `is_project`: there is none,
    and the folder holds a Python project, of which `name` is the file that says so. `files` is a context that
    is open already, then `folder` is ""; `source` is then the URL that it came from, and its digest or
    commit, or both are "". `scratch` holds what had to be fetched; `close`, or `with`, lets go
    of both.
    """

    folder: str
    dockerfile: str
    name: str = "Dockerfile"
    ignore: Ignore = Ignore()
    scratch: ScratchDirectory | None = None
    time_ns: int = 0
    is_project: bool = False
    files: ContextFiles | None = None
    source: tuple[str, str] = ("", "")

    @contextmanager
    def opened(self, tables: str) -> Iterator[ContextFiles]:
        """The context; `tables` is where what is learnt about its files is kept. Raises NotFound."""
        if self.files is not None:
            yield self.files
            return
        hashes = FileHashes("" if self.scratch else tables, self.folder)
        with BuildContext(self.folder, self.ignore, hashes) as context:
            yield context

    def close(self) -> None:
        """Remove what was fetched. Idempotent."""
        if self.files is not None:
            self.files.close()
        if self.scratch is not None:
            self.scratch.close()

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def load(
    store: Store, context: str, file: str = "", *, stdin: Reader | None = None,
    remote: Callable[[], RemoteContexts] | None = None,
) -> Inputs:  # fmt: skip
    """Find and read the inputs; `store` gives room for what must be unpacked, `remote()` fetches.

    Raises UsageError, NotFound, DockerfileError, InvalidArchive, StoreError, RegistryError.
    """
    if context == "-":
        if stdin is None or file == "-":
            raise UsageError("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stream(store, stdin, file)
    if remote and is_url(file):
        stdin, file = remote().dockerfile(file), "-"
    if os.path.isdir(context):
        return _from_folder(context, file) if file != "-" else _with_text(context, stdin)
    if remote and (repository_of(context) or is_url(context)):
        return remote().inputs(context, file, stdin)
    if os.path.isfile(context):
        return _from_file(store, context, file, stdin)
    raise NotFound(f"unable to prepare context: path {context!r} not found or not a directory")


def _with_text(context: str, stdin: Reader | None) -> Inputs:
    text = decoded(read_stream(stdin), "Dockerfile")
    return Inputs(context, text, "Dockerfile", _ignore(context, "Dockerfile", ""))


def _from_folder(context: str, file: str) -> Inputs:
    path = file or os.path.join(context, _default_name(context))
    if not file and (project := _project(context, os.path.basename(path))):
        return Inputs(context, "", project, _ignore(context, project, ""), is_project=True)
    name = os.path.relpath(path) if file else "Dockerfile"
    text, time_ns = read_file(context, path, name)
    return Inputs(context, text, name, _ignore(context, name, path), time_ns=time_ns)


def _project(context: str, dockerfile: str) -> str:
    """The file that makes the folder a Python project, "" if it has a Dockerfile or is none."""
    with _inside(context) as root:
        return "" if is_there(root, dockerfile) else project_file(root)


def read_file(context: str, path: str, name: str) -> tuple[str, int]:
    """A Dockerfile of this machine, and when it was changed. Raises NotFound, DockerfileError."""
    folder, inner = _place(context, path)
    with _inside(folder) as root:
        data, time_ns = _read(root, inner, path)
    return decoded(data, name), time_ns


def shown_name(file: str) -> str:
    """How messages call the Dockerfile of a context that is no folder."""
    return file if file not in ("", "-") else "Dockerfile"


def read_beside(files: ContextFiles, file: str, stdin: Reader | None) -> tuple[str, int]:
    """The Dockerfile of an open context, and when it was changed. Raises NotFound, DockerfileError.

    `file` is in the context, or "-", or of this machine if its path is absolute.
    """
    if file == "-":
        return decoded(read_stream(stdin), "Dockerfile"), 0
    if os.path.isabs(file):
        return read_file(os.path.dirname(file), file, file)
    return _read_within(files, file)


def _read_within(files: ContextFiles, file: str) -> tuple[str, int]:
    for name in (file,) if file else ("Dockerfile", "dockerfile"):
        _, item = resolve(files.lookup, raw(os.path.normpath(f"/{name}")))
        if item is not None and item.kind == "file":
            data = read_bounded(files.open(item).read, MAX_DOCKERFILE, name)
            return decoded(data, name), item.mtime_ns
    name = file or "Dockerfile"
    raise NotFound(f"failed to read dockerfile: open {name}: no such file or directory")


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
        return patterns_in(root)


def patterns_in(root: Root) -> Ignore:
    """What the .dockerignore at the top of a folder says, if there is one. Raises DockerfileError."""
    return _patterns(root, ".dockerignore", ".dockerignore") or Ignore()


def _patterns(root: Root, file: str, name: str) -> Ignore | None:
    try:
        data = root.read(file, MAX_DOCKERFILE)
    except NotFound:
        return None
    return read_ignore(data.decode("utf-8", "surrogateescape"), name)


def decoded(data: bytes, name: str) -> str:
    """The text of a Dockerfile. Raises DockerfileError for none."""
    if not data:
        raise DockerfileError("the Dockerfile cannot be empty", file=name, line=1)
    return data.decode("utf-8", "surrogateescape")


def read_stream(stream: Reader | None, head: bytes = b"", what: str = "standard input") -> bytes:
    """A Dockerfile that goes on after `head`. Raises UsageError for one that is too large."""
    pieces, total = [head], len(head)
    while stream is not None and (data := stream.read(1 << 16)):
        pieces.append(data)
        total += len(data)
        if total > MAX_DOCKERFILE:
            raise UsageError(f"the Dockerfile on {what} has more than {MAX_DOCKERFILE} bytes")
    return b"".join(pieces)


def _from_stream(store: Store, stdin: Reader, file: str) -> Inputs:
    from .tarcontext import is_archive

    head = read_head(stdin)
    if is_archive(head):
        return _from_archive(store, head, stdin, (file, None))
    if file:
        raise UsageError("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    text = decoded(read_stream(stdin, head), "Dockerfile")
    scratch = ScratchDirectory(store)
    return Inputs(scratch.path, text, scratch=scratch)


def _from_file(store: Store, context: str, file: str, stdin: Reader | None) -> Inputs:
    from .tarcontext import is_archive

    with os_errors(f"read {context}"):
        stream = open(context, "rb", buffering=0)
    with stream:
        if not is_archive(head := read_head(stream)):
            raise NotFound(f"unable to prepare context: path {context!r} is neither a directory nor a tar")
        return _from_archive(store, head, stream, (file, stdin))


def _from_archive(store: Store, head: bytes, stream: Reader, dockerfile: tuple[str, Reader | None]) -> Inputs:
    from .tarcontext import tar_context

    files = tar_context(store, head, stream)
    try:
        text, time_ns = read_beside(files, *dockerfile)
    except BaseException:
        files.close()
        raise
    return Inputs("", text, shown_name(dockerfile[0]), time_ns=time_ns, files=files)


def read_head(stream: Reader) -> bytes:
    """Enough bytes to tell what a stream is."""
    from .tarcontext import HEAD

    head = b""
    while len(head) < HEAD and (data := stream.read(HEAD - len(head))):
        head += data
    return head
