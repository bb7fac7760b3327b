"""The context of a build, or its Dockerfile, from elsewhere: fetched before the build begins.

    repository   a commit, in a folder of the build; `#REF:FOLDER` is the context
    URL          an archive, read as one on standard input; anything else is a Dockerfile, and the context
                 holds it under the name `context`, as with BuildKit

A Dockerfile given by an absolute path is of this machine. No .dockerignore holds.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager

from ...grammars.dockerfile.gitsource import read_git
from ...grammars.dockerfile.namedcontext import repository_of
from ...grammars.wire.downloads import modified
from ...grammars.wire.links import shown
from ...ground.files import os_errors, read_bounded
from ...images.dockerfile.plan import KEEP_GIT
from ...words.digest import Verifier
from ...words.errors import NacreError, NotFound, UsageError
from ...words.value import Value
from .downloads import FileContext
from .inputs import Inputs, decoded, read_beside, read_head, read_stream, shown_name
from .items import raw, resolve
from .repositories import Repositories
from .scratch import ScratchDirectory
from .tarcontext import is_archive, tar_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from .builder import BuildOptions, BuildSources
    from .context import ContextFiles
    from .report import BuildReport, StepReport

_NAME = "context"
_SECOND = 1_000_000_000
_CHUNK = 1 << 20


class RemoteFiles(Value):
    """Names and contents. `has_folder`: they lie in a folder with others."""

    read: tuple[tuple[str, bytes], ...]
    has_folder: bool


class RemoteContexts:
    """Fetches for one build, and reports it as steps."""

    def __init__(
        self, store: Store, sources: BuildSources, options: BuildOptions, report: BuildReport
    ) -> None:
        self._store, self._sources, self._options, self._report = store, sources, options, report

    def dockerfile(self, url: str) -> _Text:
        """A Dockerfile, as a stream. Raises UsageError, NotFound, RegistryError."""
        with self._step(f"[internal] load {shown(url)}"), self._sources.fetch(url) as remote:
            return _Text(read_stream(remote, what=shown(url)))

    def inputs(self, context: str, file: str, stdin: Reader | None) -> Inputs:
        """What to build from a repository or a URL. Raises as `load`."""
        scratch = ScratchDirectory(self._store)
        files: ContextFiles | None = None
        try:
            if repository := repository_of(context):
                files, digest = self._cloned(repository, scratch)
                text, time_ns = read_beside(files, file, stdin)
            else:
                files, data, digest = self._downloaded(context, scratch)
                text, time_ns = _of_url(files, data, file, stdin)
            return Inputs(
                "", text, shown_name(file), scratch=scratch, time_ns=time_ns, files=files,
                source=(context, digest),
            )  # fmt: skip
        except BaseException:
            if files is not None:
                files.close()
            scratch.close()
            raise

    def files(self, url: str, names: Sequence[str], usual: Sequence[str], most: int) -> RemoteFiles:
        """Files of a repository or an archive, or the one file that a URL is. At most `most` bytes each.

        Without `names` those of `usual` that are there. Raises NotFound, UsageError, RegistryError, TooLarge.
        """
        with ScratchDirectory(self._store) as scratch:
            if repository := repository_of(url):
                files, data = self._cloned(repository, scratch)[0], b""
            else:
                files, data, _ = self._downloaded(url, scratch)
            with closing(files):
                if data:
                    return RemoteFiles(((url, data),), False)
                return RemoteFiles(tuple(_contents(files, names, usual, most)), True)

    def _cloned(self, repository: str, scratch: ScratchDirectory) -> tuple[ContextFiles, str]:
        """The context, and the commit."""
        source = read_git(repository)
        if source.keep is None and self._argument(KEEP_GIT) in ("1", "true"):
            source = source.replace(keep=True)
        secrets, agents = dict(self._options.secrets), dict(self._options.agents)
        repositories = Repositories(scratch.path, secrets, agents, self._sources.git)
        with self._step(f"[internal] load git source {repository}") as step:
            fetched = repositories.fetch(source)
            step.line(fetched.commit)
            return fetched.opened(source, "the build context"), fetched.commit

    def _argument(self, name: str) -> str:
        return dict(self._options.arguments).get(name, "")

    def _downloaded(self, url: str, scratch: ScratchDirectory) -> tuple[ContextFiles, bytes, str]:
        """The context, the Dockerfile if it is nothing else, and the digest of all that came."""
        with self._step("[internal] load remote build context"), self._sources.fetch(url) as remote:
            hashed = _HashedReader(remote)
            head = read_head(hashed)
            if is_archive(head):
                files = tar_context(self._store, head, hashed)
                return files, b"", self._digest(hashed)
            data = read_stream(hashed, head, shown(url))
            time_ns = (modified(remote.headers.get("last-modified", "")) or 0) * _SECOND
        path = f"{scratch.path}/{_NAME}"
        with os_errors("keep a download"), open(path, "xb") as file:
            file.write(data)
        return FileContext(path, _NAME, time_ns), data, self._digest(hashed)

    def _digest(self, stream: _HashedReader) -> str:
        """What provenance says of it; "" where nobody asks, since the rest would have to come."""
        return stream.digest() if self._options.is_told else ""

    @contextmanager
    def _step(self, title: str) -> Iterator[StepReport]:
        step = self._report.step(title)
        step.begin()
        try:
            yield step
        except NacreError as error:
            step.failed(error.message)
            raise
        step.done()


class _HashedReader:
    """A stream that knows the digest of what has come."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._verifier = reader, Verifier()

    def read(self, count: int, /) -> bytes:
        data = self._reader.read(count)
        self._verifier.update(data)
        return data

    def digest(self) -> str:
        """That of the whole, of which the rest is read."""
        while self.read(_CHUNK):
            pass
        return str(self._verifier.verify())


class _Text:
    """Bytes as a stream."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, count: int, /) -> bytes:
        data, self._data = self._data[:count], self._data[count:]
        return data


def _of_url(files: ContextFiles, data: bytes, file: str, stdin: Reader | None) -> tuple[str, int]:
    if not data or file == "-" or os.path.isabs(file):
        return read_beside(files, file, stdin)
    if file:
        raise UsageError(f"ambiguous Dockerfile source: the URL is one, and so is -f {file}")
    return decoded(data, "Dockerfile"), 0


def _contents(
    files: ContextFiles, names: Sequence[str], usual: Sequence[str], most: int
) -> Iterator[tuple[str, bytes]]:
    for name in names or usual:
        _, item = resolve(files.lookup, raw(os.path.normpath(f"/{name}")))
        if item is not None and item.kind == "file":
            yield name, read_bounded(files.open(item).read, most, name)
        elif names:
            raise NotFound(f"cannot read {name}: no such file in {files.name}")
