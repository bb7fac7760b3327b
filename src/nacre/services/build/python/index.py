"""Indexes of packages: pages, metadata and files, through the client that the build was given.

The first index that knows a package decides about it, as in uv: a package of a private index cannot be
replaced by one of the same name elsewhere. What lies in folders (find-links) is offered besides.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from ....grammars.python.files import IndexFile
from ....grammars.python.pipconfig import bare
from ....ground.files import os_errors, private_dir, random_name, unlink, write_all, write_atomic
from ....ground.work.threads import in_parallel
from ....words.digest import sha256
from ....words.errors import NacreError, NotFound, TooLarge, Unauthorized
from .localfiles import path_of, verify
from .logins import IndexSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from threading import Event

    from ....grammars.tar.entry import Reader
    from ....words.progress import Task
    from ..downloads import Fetch, Remote
    from .localfiles import LocalFiles
    from .logins import IndexLogins

_MAX_PAGE, _MAX_METADATA = 64 << 20, 8 << 20
_MAX_FILE = 8 << 30
_CHUNK = 1 << 20
_AT_ONCE = 8
_WEB = ("http://", "https://")
"""How URLs of what is not on this machine begin."""


def is_remote(file: IndexFile) -> bool:
    """Whether a file is not on this machine."""
    return file.url.startswith(_WEB)


class PackageIndex:
    """Several indexes as one; `folder` keeps files that were fetched, by their SHA-256."""

    def __init__(
        self, sources: Sequence[IndexSource], logins: IndexLogins, fetch: Fetch, folder: str,
        local: LocalFiles,
    ) -> None:  # fmt: skip
        self._sources, self._logins, self._fetch, self._folder = sources, logins, fetch, folder
        self._local = local
        self._pages: dict[str, list[IndexFile]] = {}

    @property
    def urls(self) -> tuple[str, ...]:
        """The indexes, without users and passwords."""
        return tuple(bare(source.url) for source in self._sources)

    def files(self, name: str, only: str = "") -> list[IndexFile]:
        """What there is of a package; `only` in the index of this URL. Raises NotFound, RegistryError."""
        key = f"{only} {name}"
        if key not in self._pages:
            self._pages[key] = self._found(name, only)
        return self._pages[key]

    def assume(self, name: str, files: Sequence[IndexFile]) -> None:
        """Take these for all that there is of a package."""
        self._pages.setdefault(f" {name}", list(files))

    def prefetch(self, names: Iterable[str]) -> None:
        """Ask for the pages of several packages at once; what is wrong with one is said when it is wanted."""
        missing = [name for name in dict.fromkeys(names) if f" {name}" not in self._pages]
        if len(missing) < 2 or not any(source.url.startswith(_WEB) for source in self._sources):
            return

        def ask(name: str, _stop: Event) -> None:
            with suppress(NacreError):
                self.files(name)

        in_parallel(ask, missing, _AT_ONCE)

    def _found(self, name: str, only: str) -> list[IndexFile]:
        found: list[IndexFile] = []
        for source in [IndexSource(only)] if only else self._sources:
            is_web = source.url.startswith(_WEB)
            try:
                found += self._page(source.url, name) if is_web else self._local.files(source.url, name)
            except NotFound:
                continue
            if is_web:
                break
        if found:
            return found
        where = ", ".join([bare(only)] if only else self.urls)
        raise NotFound(f"there is no package {name!r} in {where}")

    def _page(self, index: str, name: str) -> list[IndexFile]:
        from ....grammars.python.indexpage import ACCEPT, parse_page

        url = f"{bare(index).rstrip('/')}/{name}/"
        with self._opened(url, {"Accept": ACCEPT} | self._logins.headers(index)) as remote:
            data = _bounded(remote, _MAX_PAGE, f"the index page {url}")
            return parse_page(data, remote.headers.get("content-type", ""), url)

    @contextmanager
    def _opened(self, url: str, headers: Mapping[str, str]) -> Iterator[Remote]:
        try:
            with self._fetch(url, headers) as remote:
                yield remote
        except Unauthorized as error:
            error.hint = "put user and password into the URL of the index, or into a netrc file"
            raise

    def metadata(self, file: IndexFile) -> bytes | None:
        """The METADATA that lies beside a wheel, None where none does."""
        if not file.metadata or not is_remote(file):
            return None
        url = bare(file.url) + ".metadata"
        with self._opened(url, self._logins.headers(file.url)) as remote:
            return _bounded(remote, _MAX_METADATA, url)

    def identified(self, file: IndexFile) -> IndexFile:
        """The file with its SHA-256 if it lies here; one of an index as it is. Raises DigestMismatch."""
        if is_remote(file) or (file.strong and "sha256" not in dict(file.strong)):
            return file
        return self._local.identified(file)

    def kept_metadata(self, sha256: str) -> bytes | None:
        """The METADATA of a file that was looked at before, None for none, or for what a power cut left."""
        try:
            with open(f"{self._folder}/{sha256}.metadata", "rb") as file:
                digest, _, fields = file.read().partition(b"\n")
        except FileNotFoundError:
            return None
        return fields if digest == _digest(fields) else None

    def keep_metadata(self, sha256: str, data: bytes) -> bytes:
        """Keep the fields of a METADATA, without the description that comes after them."""
        self._make_folder()
        fields = data.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n"
        write_atomic(f"{self._folder}/{sha256}.metadata", _digest(fields) + b"\n" + fields)
        return fields

    def kept(self, sha256: str) -> str:
        """The path of a file that was fetched before, "" for none."""
        path = f"{self._folder}/{sha256}"
        return path if sha256 and os.path.isfile(path) else ""

    def fetch(self, file: IndexFile, task: Task) -> tuple[str, str]:
        """Bring a file, verified; its path and SHA-256. Raises NotFound, DigestMismatch, RegistryError."""
        sha256 = dict(file.strong).get("sha256", "")
        if path := self.kept(sha256):
            task.done("Already exists")
            return path, sha256
        self._make_folder()
        return self._brought(file, task)

    def _brought(self, file: IndexFile, task: Task) -> tuple[str, str]:
        temporary = f"{self._folder}/.{random_name()}"
        try:
            sha256 = self._save(file, temporary, task)
            with os_errors(f"keep {file.name}"):
                os.replace(temporary, f"{self._folder}/{sha256}")
        except BaseException:
            unlink(temporary)
            raise
        task.done("Download complete")
        return f"{self._folder}/{sha256}", sha256

    def _save(self, file: IndexFile, path: str, task: Task) -> str:
        from hashlib import new as new_hash

        sums = {name: new_hash(name) for name in {"sha256", *dict(file.strong)}}
        task.phase("Downloading", file.size or None)
        with os_errors(f"keep {file.name}"):
            target = open(path, "xb", buffering=0)
        total = 0
        with target, self._reading(file) as remote:
            while data := remote.read(_CHUNK):
                total += len(data)
                if total > (file.size or _MAX_FILE):
                    raise TooLarge(f"{file.name} is longer than the {file.size or _MAX_FILE} bytes announced")
                for one in sums.values():
                    one.update(data)
                with os_errors(f"keep {file.name}"):
                    write_all(target.fileno(), data)
                task.advance(len(data))
        verify(file, {name: one.hexdigest() for name, one in sums.items()})
        return sums["sha256"].hexdigest()

    @contextmanager
    def _reading(self, file: IndexFile) -> Iterator[Remote]:
        if is_remote(file):
            with self._opened(bare(file.url), self._logins.headers(file.url)) as remote:
                yield remote
            return
        path = path_of(file.url)
        with os_errors(f"read {path}"), open(path, "rb", buffering=0) as local:
            yield local  # type: ignore[misc]  # nobody asks a file of this machine for fields

    def keep(self, reader: Reader) -> tuple[str, str, int]:
        """Keep a file that was made here; its path, SHA-256 and size."""
        from hashlib import new as new_hash

        self._make_folder()
        temporary, sha256, size = f"{self._folder}/.{random_name()}", new_hash("sha256"), 0
        try:
            with os_errors("keep a wheel"), open(temporary, "xb", buffering=0) as target:
                while data := reader.read(_CHUNK):
                    sha256.update(data)
                    size += len(data)
                    write_all(target.fileno(), data)
                os.replace(temporary, f"{self._folder}/{sha256.hexdigest()}")
        except BaseException:
            unlink(temporary)
            raise
        return f"{self._folder}/{sha256.hexdigest()}", sha256.hexdigest(), size

    def _make_folder(self) -> None:
        with os_errors(f"keep wheels in {self._folder}"):
            if not os.path.isdir(self._folder):
                private_dir(self._folder)


def _digest(data: bytes) -> bytes:
    return sha256(data).hexdigest().encode()


def _bounded(remote: Remote, most: int, what: str) -> bytes:
    pieces, total = [], 0
    while data := remote.read(_CHUNK):
        pieces.append(data)
        total += len(data)
        if total > most:
            raise TooLarge(f"{what} has more than {most} bytes")
    return b"".join(pieces)
