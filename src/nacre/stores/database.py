"""The store's database: SQLite in WAL mode, one connection, short transactions.

Any number of processes share the file. Readers never wait; writers wait for each other, at most 30 s.
Commits survive a kill at once; a power cut only when the transaction was `durable`, which what exists
nowhere else asks for (SQLite "PRAGMA synchronous": NORMAL may lose, but never breaks, the last commits).

No connection crosses a fork: `forkguard`.
"""

from __future__ import annotations

import fcntl
import os
from _struct import Struct
from _thread import RLock
from _weakref import ref

from ..ground.files import Lock, os_errors, sync_path, trace
from ..ground.linux import read_proc
from ..words.errors import DamagedStore, DiskFull, NotFound, StoreError
from . import forkguard
from .sqlite import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

VERSION = 2
"""Format of the store that this version writes (`PRAGMA user_version`); older ones are brought up to it."""

_BUSY_SECONDS = 30.0
_CHECKPOINT_PAGES = 200  # the next process reads what is left of the log when it opens: keep that short

_PAGE, _INDEX = 4096, 32768
"""Bytes that SQLite takes for a page of memory, and bytes of a log's index until it has 4,062 pages."""

_EOPNOTSUPP = 95

_SHARED = Struct("hhqqi4x").pack(fcntl.F_RDLCK, os.SEEK_SET, 0x40000002, 510, 0)
"""A lock, as fcntl(2) has it, on the bytes that every reader locks. Source: os.h of SQLite, SHARED_FIRST."""

_DAMAGE = (
    "not a database", "malformed", "no such table", "no such column", "has no column", "columns but",
    "unsupported file format", "Could not decode", "constraint failed",
)  # fmt: skip
"""What SQLite says of a file that somebody else has written to. Source: sqlite3.c, its messages."""

_SCHEMA = """
CREATE TABLE clock (now INTEGER NOT NULL);
INSERT INTO clock VALUES (1);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blob (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, boot TEXT NOT NULL, synced INTEGER NOT NULL,
    written REAL NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tree (
    diff_id TEXT PRIMARY KEY, driver TEXT NOT NULL, size INTEGER NOT NULL, root TEXT NOT NULL,
    boot TEXT NOT NULL, synced INTEGER NOT NULL, written REAL NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE active (
    key TEXT PRIMARY KEY, driver TEXT NOT NULL, layers TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE layer (
    digest TEXT PRIMARY KEY, diff_id TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    added REAL NOT NULL, recipe TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE INDEX layer_diff_id ON layer (diff_id);
CREATE TABLE source (
    digest TEXT NOT NULL, repository TEXT NOT NULL, added REAL NOT NULL,
    PRIMARY KEY (digest, repository)) WITHOUT ROWID;
CREATE TABLE image (digest TEXT PRIMARY KEY, descriptor TEXT NOT NULL, added REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE ref (
    name TEXT PRIMARY KEY, digest TEXT NOT NULL, descriptor TEXT NOT NULL,
    updated REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX ref_digest ON ref (digest);
CREATE TABLE step (
    key TEXT PRIMARY KEY, parent TEXT NOT NULL, layer TEXT NOT NULL, diff_id TEXT NOT NULL,
    config TEXT NOT NULL, inputs TEXT NOT NULL, created REAL NOT NULL, used REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX step_parent ON step (parent);
CREATE TABLE container (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL, image_ref TEXT NOT NULL,
    created REAL NOT NULL, state TEXT NOT NULL, pid INTEGER NOT NULL, pid_start INTEGER NOT NULL,
    exit_code INTEGER NOT NULL, started REAL NOT NULL, finished REAL NOT NULL, command TEXT NOT NULL,
    config_json TEXT NOT NULL, auto_remove INTEGER NOT NULL, boot TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX container_image ON container (image);
CREATE TABLE lease (id TEXT PRIMARY KEY, began INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE lease_item (
    lease TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (lease, kind, key)) WITHOUT ROWID;
"""

_SHARED_MEMORY = 1 << 16
_STEPS = {1: "ALTER TABLE layer ADD COLUMN recipe TEXT NOT NULL DEFAULT '';"}
"""What makes a store of the format that is the key one of the next."""


class Database:
    """One connection, safe for threads; `with database.transaction():` groups statements.

    A process that was forked from the one that opened it may use it if it was at rest then; see `resting`.
    """

    def __init__(
        self, path: str, *, create: bool = True, belongs: Callable[[], bool] = lambda: False
    ) -> None:
        """Raises NotFound when absent and not `create`, StoreError for a newer format and the like.

        `belongs` says whether there is content that the database must have been about: then an empty one is
        not made or taken for new, but DamagedStore is raised.
        """
        self.path, self._belongs = path, belongs
        self.lock = RLock()
        self.pid, self.depth = os.getpid(), 0
        self.file = (0, 0)
        self.connection: sqlite3.Connection | None = None
        self._rests = False
        forkguard.KNOWN[id(self)] = ref(self)
        self._connect(create)

    def _connect(self, create: bool) -> sqlite3.Connection:
        with forkguard.gate():
            if _is_blank(self.path):
                self._begin(create)
            with _errors(self.path):
                found = os.stat(self.path)
                self.file, self.pid = (found.st_dev, found.st_ino), os.getpid()
                forkguard.check(self)
                self.connection = connection = _open(self.path)
                self._rests = False
                try:
                    self._configure(connection)
                except BaseException:
                    self._close()
                    raise
        return connection

    def _configure(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            self._prepare(connection, version)
        _reserve(self.path)
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA synchronous=NORMAL")

    def _begin(self, create: bool) -> None:
        """Make the tables of a new database; one process does, others wait.

        Nothing is opened before it is sure that there is nothing to lose: SQLite removes the log that lies
        beside an empty file.
        """
        if not create and not self._belongs():
            raise NotFound(f"there is no store at {os.path.dirname(self.path)}")
        with Lock(self.path + ".lock"):
            if not _is_blank(self.path):
                return
            self._check_new(os.path.exists(self.path))
            _make_file(self.path)
            with _errors(self.path):
                connection = _open(self.path)
                try:
                    make_tables(connection)
                finally:
                    connection.close()

    def _check_new(self, exists: bool) -> None:
        if self._belongs():
            how = "is empty" if exists else "is gone"
            raise DamagedStore(f"the store {os.path.dirname(self.path)} has content, but its database {how}")

    def _prepare(self, connection: sqlite3.Connection, version: int) -> None:
        """Make the tables of an empty file, or bring old ones up to date; one process does, others wait."""
        if version > VERSION:
            folder = os.path.dirname(self.path)
            raise StoreError(
                f"the store {folder} has format {version}, this version of nacre supports {VERSION}",
                hint="use a newer nacre, or another --root",
            )
        with Lock(self.path + ".lock"):
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._check_new(exists=True)
                make_tables(connection)
            elif version < 0:
                raise DamagedStore(f"{self.path} is damaged: it has format {version}")
            else:
                _update(connection, version)

    def here(self) -> sqlite3.Connection:
        """The connection; only with `lock`. Raises StoreError when it is another process's, or closed."""
        if self._rests:
            return self._connect(create=False)
        if self.pid != os.getpid():
            raise forkguard.refusal(self.path)
        if self.connection is None:
            raise StoreError(f"{self.path} has been closed")
        return self.connection

    def rest(self) -> None:
        """Close the connection, until the next use opens another. No transaction may be under way."""
        with self.lock:
            if self.connection is not None and self.pid == os.getpid():
                assert not self.depth, "no fork within a transaction"
                self._close()
                self._rests = True

    def _close(self) -> None:
        with forkguard.gate():
            connection, self.connection = self.connection, None
            if connection is None:
                return
            if hasattr(connection, "setconfig") or forkguard.has_other(self):
                connection.close()
            else:
                _close_alone(connection, self.path)

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; all its rows. Raises StoreError."""
        with self.lock, _errors(self.path):
            return self._run(sql, values).fetchall()

    def one(self, sql: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """The first row of the result, None if there is none."""
        rows = self.execute(sql, values)
        return rows[0] if rows else None

    def change(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        """Run one changing statement; how many rows it changed. Raises StoreError."""
        with self.lock, _errors(self.path):
            return self._run(sql, values).rowcount

    def _run(self, sql: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        """Bytes that are no UTF-8, which SQLite cannot take, become U+FFFD."""
        try:
            return self.here().execute(sql, values)
        except UnicodeEncodeError:
            return self.here().execute(sql, tuple(map(_as_text, values)))

    def transaction(self, *, durable: bool = False) -> Transaction:
        """A write transaction: all or nothing. `durable`: on disk when the block ends."""
        return Transaction(self, durable)

    def check(self) -> None:
        """Raises DamagedStore when the file is not whole."""
        with self.lock, _errors(self.path):
            found = _fault(self.here())
        if found:
            raise DamagedStore(f"{self.path} is incomplete: {found}")

    def faults(self) -> list[str]:
        """What SQLite finds wrong in the tables, a phrase each; only the first few. Raises StoreError."""
        return [row[0] for row in self.execute("PRAGMA quick_check(5)") if row[0] != "ok"]

    def close(self) -> None:
        """Idempotent. The log stays, for the next one to open it."""
        with self.lock:
            if self.pid == os.getpid():
                self._close()
                self._rests = False

    def __del__(self) -> None:
        forkguard.forget(self)


def _as_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)


def _update(connection: sqlite3.Connection, version: int) -> None:
    """Each step is one transaction: after a kill in between the next process goes on from there."""
    for before in range(version, VERSION):
        step = f"{_STEPS[before]}PRAGMA user_version={before + 1};"
        connection.executescript(f"BEGIN IMMEDIATE;{step}COMMIT;")


class Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the block raises. Joins one of the same thread."""

    def __init__(self, database: Database, durable: bool) -> None:
        self._database, self._durable = database, durable

    def __enter__(self) -> Self:
        database = self._database
        database.lock.acquire()
        depth = database.depth
        try:
            connection = database.here()
            if depth == 0:
                with _errors(database.path):
                    self._begin(connection)
            database.depth = depth + 1
            return self
        except BaseException:
            database.depth = depth
            database.lock.release()
            raise

    def _begin(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:  # a signal came between its beginning and the block, or at its end
            connection.execute("ROLLBACK")
        connection.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_rest: object) -> None:
        self._database.depth -= 1
        try:
            if self._database.depth == 0:
                self._finish("COMMIT" if kind is None else "ROLLBACK")
        finally:
            self._database.lock.release()

    def _finish(self, verb: str) -> None:
        connection = self._database.here()
        with _errors(self._database.path):
            try:
                if connection.in_transaction:
                    trace("database:ending")
                    connection.execute(verb)
                    trace("database:ended")
            finally:
                if connection.in_transaction:  # a COMMIT that failed leaves it open
                    connection.execute("ROLLBACK")


class _errors:
    """SQLite's errors as one StoreError."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise _store_error(self.path, error) from error


def _store_error(path: str, error: sqlite3.Error) -> StoreError:
    text = str(error)
    short = getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHMSIZE"
    if "full" in text or short or ("disk I/O" in text and _is_full(path)):
        return DiskFull(f"cannot write {path}: no space left on device")
    if "locked" in text or "busy" in text:
        return StoreError(f"cannot write {path}: another process has locked it for too long")
    if any(words in text for words in _DAMAGE):
        return DamagedStore(f"{path} is damaged: {text}")
    return StoreError(f"cannot use {path}: {text}")


def _is_full(path: str) -> bool:
    """SQLite calls it an error of the disk when its shared memory, a file beside the log, finds no room."""
    try:
        found = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _SHARED_MEMORY


def _is_blank(path: str) -> bool:
    try:
        return os.stat(path).st_size == 0
    except FileNotFoundError:
        return True


def make_tables(connection: sqlite3.Connection) -> None:
    """In an empty database. Raises sqlite3.Error."""
    connection.execute("PRAGMA journal_mode=WAL").fetchone()
    connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={VERSION};COMMIT;")


def _make_file(path: str) -> None:
    """SQLite would make it readable to others; its log and index files take the mode of this one."""
    with os_errors(f"make {path}"):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_path(os.path.dirname(path))


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    if hasattr(connection, "setconfig"):  # Python 3.12: no fsync of the whole log at every exit
        connection.setconfig(1006, True)  # SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
    return connection


def _close_alone(connection: sqlite3.Connection, path: str) -> None:
    """The same before Python 3.12: SQLite takes us for one of several as long as somebody else reads.

    Whoever finds itself the last to close folds the log into the database and removes it: four fdatasync(2)
    and two new files for each command. Only where no other connection of this process has the file open:
    to close our descriptor drops the locks of all (fcntl(2)). Where there are no such locks, we are the last.
    """
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _SHARED)
    except OSError:  # then we are the last, and pay for it
        pass
    finally:
        connection.close()
        if fd >= 0:
            os.close(fd)


def _reserve(path: str) -> None:
    """Give the log's index all its blocks. Raises StoreError when the disk is full.

    SQLite writes a byte into each of its pages and maps them. Where blocks are smaller than pages (an ext4
    below 512 MB) most of them stay holes, and on a full disk the first write there is a SIGBUS. It must be
    SQLite's own descriptor: to close another one would drop its locks (fcntl(2)).
    """
    if os.statvfs(path).f_frsize >= _PAGE or not os.path.exists(path + "-shm"):
        return
    there = os.stat(path + "-shm")
    for name in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{name}") and os.path.samestat(os.fstat(int(name)), there):
            with os_errors(f"write {path}"):
                _allocate(int(name))


def _allocate(fd: int) -> None:
    from ..ground.linux import fallocate

    try:
        fallocate(fd, _INDEX)
    except OSError as error:
        if error.errno != _EOPNOTSUPP:
            raise


def fault(path: str) -> str:
    """What is wrong with the file of a database, one phrase; "" for nothing."""
    if _is_blank(path):
        return "it is empty" if os.path.exists(path) else "it is missing"
    try:
        connection = _open(path)
        try:
            return _fault(connection)
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeError) as error:
        return f"it is damaged: {error}"


def _fault(connection: sqlite3.Connection) -> str:
    found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    lost = sorted(
        {line.split()[2] for line in _SCHEMA.split("\n") if line.startswith("CREATE TABLE")} - found
    )
    if lost:
        return f"it has no table {lost[0]}" if found else "it holds nothing"
    (text,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return "" if text == "ok" else f"it is damaged: {text}"


_boot = ""


def boot_id() -> str:
    """Identifies this boot of the machine. Source: random(4)."""
    global _boot
    if not _boot:
        with os_errors("read the boot id"):
            _boot = read_proc("/proc/sys/kernel/random/boot_id").decode().strip()
    return _boot
