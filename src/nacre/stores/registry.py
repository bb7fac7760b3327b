"""The folder of a registry: content and catalog of the server, owned by one process at a time.

    ROOT/registry.lock   held by the process that serves
    ROOT/registry.clean  the last one ended in order, and nothing is left of a kill
    ROOT/registry.db     `catalog`, or registry.database, which says what server has it
    ROOT/reserve         room for the day on which the disk is full
    ROOT/blobs/ …        a blob store, as a store has it
    ROOT/ingest/         uploads that have begun and not ended

A blob is on the disk a moment before its repository has it, and content that was deleted a moment after no
repository has it: what a kill in between left, nobody will ever ask for. `tidy` removes it beside the
requests, as content that is just coming is pinned, and only after a kill: the start takes as long however
much is kept.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING

from ..ground.files import Lock, os_errors, private_dir, remove_tree, sync_path, unlink
from ..words.digest import Digest
from ..words.errors import Conflict, DamagedStore, DiskFull, InvalidName
from ..words.rules import StorageRules
from . import reserve
from .accounts.reading import Accounts
from .accounts.sources import RemoteSource, SqliteSource
from .blobs import BlobStore
from .catalog import Catalog, Quotas, is_url, open_database, place_of
from .catalog.opening import FILE, RESTORING, is_registry, remember
from .garbage import Garbage, GarbageCollector, Mentions
from .layout import names
from .removed import RemovedContent
from .storage.local import FolderContents, LocalStorage
from .storage.place import AWAY, check_place, in_bucket, is_away
from .storage.rows import BucketContents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, ParamSpec, TypeVar

    from ..words.progress import Progress
    from ..words.rules import GarbageRules
    from .accounts.administration import Administration
    from .catalog import Document
    from .integrity import CheckOptions, RegistryReport
    from .storage import Storage

    P = ParamSpec("P")
    T = TypeVar("T")

_AT_ONCE = 256


class RegistryStore:
    """What one registry keeps: `storage` is content by digest, `catalog` says which repository holds what."""

    def __init__(self, root: str, place: StorageRules | None = None, database: str = "") -> None:
        """Opens or makes the folder `root`, whose content is in `place`; `close` it. `database` is the URL of
        a server, "" for the one that the folder has, else its own file.

        Raises Conflict when another process serves it or it is not a registry's, DamagedStore, StoreError,
        and of a bucket or a server UsageError, Unsupported, Unavailable.
        """
        place = place or StorageRules()
        self.root = os.path.abspath(root)
        reserve.release(self.root)
        with ExitStack() as opened:
            where = place_of(self.root, database)
            # before anything is made, as it may not answer
            server = opened.enter_context(closing(open_database(where))) if is_url(where) else None
            blobs = None if place.url else opened.enter_context(closing(_blobs(self.root)))
            if place.url:
                _make_folder(self.root)
            self._lock = opened.enter_context(_own(self.root, is_shared=is_url(where) and not blobs))
            contents = FolderContents(blobs.delete) if blobs else BucketContents()
            found = server or open_database(where)
            remember(self.root, where, found)
            self.catalog = opened.enter_context(closing(Catalog(found, contents)))
            self._place = where
            self.replica = secrets.token_hex(8) if found.is_remote else ""
            """Tells this process from others that serve the same registry; a file has one at a time."""
            check_place(self.catalog, place.url)
            self.storage = self._folder(blobs) if blobs else in_bucket(place, self.catalog)
            source = RemoteSource(found, where) if found.is_remote else SqliteSource(where)
            self.accounts = opened.enter_context(closing(Accounts(source)))
            self._is_tidy = _take_mark(self.root)
            reserve.take(self.root)
            opened.pop_all()

    def close(self) -> None:
        """Let go of everything; unfinished uploads can be resumed."""
        self.accounts.close()
        self.catalog.close()
        self.storage.close()
        if self._is_tidy:
            _leave_mark(self.root)
        self._lock.close()

    @property
    def place(self) -> str:
        """Path or URL of its database, the latter with what it takes to log in there."""
        return self._place

    def administration(self, actor: str) -> Administration:
        """Changes its accounts in the name of `actor`; close it. Raises StoreError."""
        from .accounts.administration import Administration

        return Administration(self._place, actor)

    def check_room(self) -> None:
        """Raises DiskFull while the disk is so full that what is left is for deleting."""
        if not reserve.take(self.root):
            raise DiskFull(f"no space left on the disk of {self.root}")

    def temporary(self) -> IO[bytes]:
        """An unbuffered file without a name, for content that is passed on; closing it removes it."""
        from tempfile import TemporaryFile

        with os_errors(f"write to {self.root}"):
            return TemporaryFile(dir=self.root, buffering=0)

    def freeing(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(...)`, which frees room; on a full disk in the room that is kept for that.

        A full disk ends the grace time of what was deleted, the oldest first, until there is room.
        """
        try:
            found = function(*args, **kwargs)
        except DiskFull:
            if not reserve.release(self.root):
                raise
            found = function(*args, **kwargs)
        expiring = RemovedContent(self.catalog).expire(0.0)
        while not reserve.take(self.root) and next(expiring, None) is not None:
            pass
        return found

    def _folder(self, blobs: BlobStore) -> Storage:
        return LocalStorage(blobs, self.catalog.pinned, self._tidy_folder)

    def _tidy_folder(self) -> Iterator[None]:
        """Remove what a kill left, a little at each step; nothing after an end in order.

        Requests may be served meanwhile. Raises StoreError.
        """
        if self._is_tidy:
            return
        with os_errors(f"tidy {self.root}"):
            for name in {name.removesuffix(".lock") for name in names(f"{self.root}/ingest")}:
                self._tidy_upload(name)
                yield
            found = _files(self.root)
            while some := list(islice(found, _AT_ONCE)):
                self.catalog.drop_unheld(some)
                yield
        self._is_tidy = True

    def _tidy_upload(self, name: str) -> None:
        """Remove the data of an upload that nobody can go on with, unless it is being written."""
        if self.catalog.upload(name.removeprefix("key-")) is None:
            path = f"{self.root}/ingest/{name}"
            lock = Lock.attempt(f"{path}.lock")
            if lock is not None and os.path.lexists(path):
                remove_tree(path)
            if lock is not None:
                lock.release(remove=True)


def collected(root: str, rules: GarbageRules, *, dry_run: bool) -> tuple[Garbage, Garbage]:
    """What nothing names in a registry, and what of it went, or would go. Raises Conflict, StoreError."""
    with closing(catalog_of(root)) as catalog:
        if dry_run:
            return GarbageCollector(catalog, rules, Mentions()).look()
        if is_away(catalog):
            with _own(root, is_shared=catalog.is_remote):
                return _collected(catalog, rules)
    with closing(RegistryStore(root)) as store:
        for _ in store.storage.tidy():
            pass
        return _collected(store.catalog, rules)


def _collected(catalog: Catalog, rules: GarbageRules) -> tuple[Garbage, Garbage]:
    collector = GarbageCollector(catalog, rules, Mentions())
    gone = [Garbage(), *collector.steps()][-1]
    return collector.look()[0], gone


def checked(
    root: str, parse: Callable[[bytes, str], Document], place: StorageRules, options: CheckOptions,
    progress: Progress | None = None,
) -> RegistryReport:  # fmt: skip
    """Can every manifest be pulled? See `integrity`. Raises Conflict, StoreError, Unavailable."""
    from .integrity import ContentFiles, ContentObjects, IntegrityCheck

    with closing(catalog_of(root)) as catalog:
        check_place(catalog, place.url)
        content = ContentObjects(in_bucket(place, catalog)) if place.url else ContentFiles(root)
        return IntegrityCheck(catalog, content, parse, options, progress).run()


def catalog_of(root: str) -> Catalog:
    """That of a registry, served or not; files stay whatever is deleted. Close it.

    Raises Conflict where there is no registry, StoreError.
    """
    _check_registry(root)
    database = open_database(place_of(root))
    return Catalog(database, BucketContents() if is_away(database) else FolderContents(_keep))


def accounts_of(root: str, url: str = "") -> Accounts:
    """Those of a registry, to be read; `url` as in `database_of`. Close it. Raises Conflict where there is no
    registry, StoreError, and of a server UsageError, Unsupported, Unavailable.
    """
    if not url:
        _check_registry(root)
    place = place_of(root, url)
    if not is_url(place):
        return Accounts(SqliteSource(place))
    return Accounts(RemoteSource(open_database(place), place, owned=True))


def _keep(_digest: Digest) -> None:
    pass


def database_of(root: str, url: str = "") -> str:
    """Path or URL of the database of a registry; its folder is made, and remembers a server at `url`.

    Raises Conflict, StoreError, and of a server UsageError, Unsupported, Unavailable.
    """
    if url:
        with closing(open_database(place_of(root, url))) as database:
            _make_folder(root)
            remember(root, url, database)
    elif not is_registry(root):
        _blobs(root).close()
    return place_of(root, url)


def _check_registry(root: str) -> None:
    if not is_registry(root):
        with os_errors(f"look at {root}"), suppress(FileNotFoundError, NotADirectoryError):
            os.stat(f"{root}/{FILE}")  # somebody else's is not said to be none
        raise Conflict(f"{root} is no registry")


@contextmanager
def quotas_of(root: str) -> Iterator[Quotas]:
    """The quotas of a registry, served or not. Raises Conflict, StoreError."""
    with closing(open_database(database_of(root))) as database:
        yield Quotas(database)


def _check_folder(root: str) -> None:
    if os.path.exists(f"{root}/{RESTORING}"):
        hint = "`nacre registry restore` goes on with what was broken off"
        raise Conflict(f"{root} is not restored yet", hint=hint)
    if os.path.exists(f"{root}/nacre.db") and not is_registry(root):
        raise Conflict(f"{root} holds the images of a nacre store, not a registry")


def _make_folder(root: str) -> None:
    """For a registry whose content is elsewhere."""
    _check_folder(root)
    private_dir(root)


def _blobs(root: str) -> BlobStore:
    """Everything that the blob store is given in ways used here is on disk before it is answered for."""
    _check_folder(root)
    if is_registry(root) and not os.path.exists(f"{root}/oci-layout"):
        raise Conflict(AWAY, hint="say in which bucket with `--storage`")
    try:
        return BlobStore.at(root)
    except DamagedStore as error:
        error.hint = f"`nacre --root {root} system check --repair` rebuilds the database"
        raise


def _own(root: str, *, is_shared: bool) -> ExitStack:
    """Lock the folder, unless nothing in it matters: sessions and pins of files live in the memory of one
    process.
    """
    with os_errors(f"lock {root}"):
        lock = None if is_shared else Lock.attempt(f"{root}/registry.lock")
    held = ExitStack()
    if lock is not None:
        held.callback(lock.release)
    elif not is_shared:
        raise Conflict(f"{root} is served by another process")
    return held


def _take_mark(root: str) -> bool:
    """Did the last process end in order? A power cut does not bring the mark back."""
    with os_errors(f"open {root}"):
        found = unlink(f"{root}/registry.clean")
        if found:
            sync_path(root)
    return found


def _leave_mark(root: str) -> None:
    """If it cannot be, the next start tidies up for nothing."""
    with suppress(OSError):
        os.close(os.open(f"{root}/registry.clean", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _files(root: str) -> Iterator[Digest]:
    """What is in ROOT/blobs, one by one: a list of it would be as long as the registry is large."""
    for algorithm in names(f"{root}/blobs"):
        with os.scandir(f"{root}/blobs/{algorithm}") as entries:
            for entry in entries:
                with suppress(InvalidName):  # not made here: not ours to remove
                    yield Digest(f"{algorithm}:{entry.name}")
