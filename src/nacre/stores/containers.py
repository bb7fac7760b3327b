"""The table of containers."""

from __future__ import annotations

import os

from ..ground.files import Lock, os_errors, private_dir, write_all, write_atomic
from ..words import quickjson
from ..words.errors import Conflict, NacreError, NotFound
from ..words.value import Value
from .database import Database, boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from builtins import list as List
    from collections.abc import Callable
    from typing import Any


CONTAINER = "container:"
"""How a network or another namespace is called that is another container's."""
_LIVE = ("running", "restarting")
BEGUN = "begun"
"""The state of a container that is not whole yet: its maker holds a lock, see `is_starting`, or is dead."""
NETWORK = "network"
"""A file of a container that runs: what it got in its networks."""
RESTARTING = "restarting"
"""A file of a container of `--rm`: locked by the process that restarts it."""


class ContainerRow(Value):
    """One container. Times are seconds since 1970, 0 if it has not happened.

    `id` 64 hex digits; `image` digest of the manifest; `image_ref` as the user gave it;
    `state` begun (see BEGUN), created, running, restarting, exited, dead; `pid_start` field 22 of
    /proc/PID/stat, which with `boot` tells a recycled pid; `config_json` whatever the service needs to
    start it again. The key of its active is its id, and its folder is ROOT/containers/<id>.
    """

    id: str
    name: str
    image: str
    image_ref: str
    created: float
    state: str = "created"
    pid: int = 0
    pid_start: int = 0
    exit_code: int = 0
    started: float = 0.0
    finished: float = 0.0
    command: str = ""
    config_json: str = "{}"
    auto_remove: bool = False
    boot: str = ""

    @property
    def images(self) -> tuple[str, ...]:
        """The manifests that it needs: its own, and those of images that are mounted in it."""
        kept = quickjson.loads(self.config_json).get("images") if '"images"' in self.config_json else None
        return (self.image, *(kept or ()))

    @property
    def is_live(self) -> bool:
        """Whether a process keeps it: it runs, or is to run again."""
        return self.state in _LIVE

    @property
    def networked(self) -> bool:
        """Whether it has a network of its own that is more than loopback."""
        return "endpoints" in quickjson.loads(self.config_json)


_STARTING, _RECORD = "starting", "record"
_LOST = 137
_FIELDS = ContainerRow._fields
_COLUMNS = ", ".join(_FIELDS)


class ContainerStore:
    """Rows by id and name. Insert the row *before* making the active or the folder: it keeps them."""

    def __init__(self, root: str, database: Database) -> None:
        self._root, self._database = root, database

    def insert(self, row: ContainerRow) -> None:
        """Raises Conflict when the name or the id is taken (docker's words)."""
        marks = ", ".join("?" * len(_FIELDS))
        with self._database.transaction():
            taken = self._database.one("SELECT id FROM container WHERE name = ?", (row.name,))
            if taken:
                raise _taken(row.name, taken[0])
            if self._database.one("SELECT id FROM container WHERE id = ?", (row.id,)):
                raise Conflict(f"the container id {row.id} is already in use")
            self._database.change(f"INSERT INTO container ({_COLUMNS}) VALUES ({marks})", row._astuple())

    def begin(self, row: ContainerRow) -> Lock:
        """`insert`, and make the folder. Until the lock is released, or its holder dies, no sweep takes the
        container for one that somebody has left behind. Raises as `insert`, StoreError.
        """
        folder = self.folder(row.id)
        with os_errors(f"make {folder}"), self._database.transaction():
            self.insert(row)
            private_dir(os.path.dirname(folder))
            private_dir(folder)
            return Lock(f"{folder}/{_STARTING}")

    def ids_lock(self) -> Lock:
        """Held while a container gets ids that no other has. Raises StoreError."""
        with os_errors("lock the ids of containers"):
            return Lock(f"{self._root}/ids.lock")

    def describe(self, row: ContainerRow) -> None:
        """Leave beside the container what is needed to make its rows again. Raises StoreError."""
        with os_errors(f"describe container {row.name}"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            fd = os.open(self.file(row.id, _RECORD), flags, 0o600)
            try:
                write_all(fd, self._description(row))
            finally:
                os.close(fd)

    def _description(self, row: ContainerRow) -> bytes:
        sql = "SELECT driver, layers, created FROM active WHERE key = ?"
        document = [dict(zip(_FIELDS, row._astuple(), strict=True)), self._database.one(sql, (row.id,))]
        return quickjson.dumps(document).encode()

    def described(self, id: str) -> tuple[ContainerRow, tuple[Any, ...]] | None:
        """The row of a container, and that of its active without the key, as its files tell them.

        None for one that was never whole, or is gone as soon as it has ended and has.
        """
        from ..words.digest import Digest

        try:
            with open(self.file(id, _RECORD), "rb") as file:
                fields, active = quickjson.loads(file.read())
            row = ContainerRow(**fields).replace(**self._state(id))
            driver, layers, created = active
            for digest in (row.image, *layers.split()):
                Digest(digest)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, NacreError):
            return None
        if row.id != id or (row.auto_remove and row.state != "running"):
            return None
        return row, (driver, layers, created)

    def _state(self, id: str) -> dict[str, Any]:
        """From the lock that a keeper holds, in which it leaves the exit code, and the log that it begins."""
        path = self.file(id, "lock")
        if not os.path.exists(path):
            return {"state": "created"}
        lock = Lock.attempt(path)
        if lock is None:
            return {"state": "running", "boot": boot_id()}
        try:
            code = os.pread(lock.fd, 32, 0)
        finally:
            lock.release()
        if not code and not os.path.exists(self.file(id, "log")):
            return {"state": "created"}  # `cp` locks it as well
        ended = os.stat(path).st_mtime
        return {"state": "exited", "exit_code": int(code) if code.isdigit() else _LOST, "finished": ended}

    def is_starting(self, id: str) -> bool:
        """Whether the one who began it still holds on to it."""
        return self._is_held(id, _STARTING)

    def is_restarted(self, id: str) -> bool:
        """Whether a restart goes on that will start it again."""
        return self._is_held(id, RESTARTING)

    def _is_held(self, id: str, name: str) -> bool:
        path = self.file(id, name)
        if not os.path.exists(path):
            return False
        with os_errors(f"look at {path}"):
            lock = Lock.attempt(path)
        if lock:
            lock.release()
        return lock is None

    def update(self, id: str, **changes: object) -> None:
        """Change some fields by full id. Raises NotFound; Conflict when a new name is taken."""
        if not _FIELDS_SET.issuperset(changes):
            raise TypeError(f"no such field of a container: {sorted(set(changes) - _FIELDS_SET)}")
        with self._database.transaction():
            name = changes.get("name")
            sql = "SELECT id FROM container WHERE name = ? AND id <> ?"
            if name is not None and (taken := self._database.one(sql, (name, id))):
                raise _taken(str(name), taken[0])
            sets = ", ".join(f"{field} = ?" for field in changes)
            if not self._database.change(
                f"UPDATE container SET {sets} WHERE id = ?", (*changes.values(), id)
            ):
                raise _no_container(id)

    def end(self, id: str, **changes: object) -> bool:
        """`update` for one that is live; False if it is not any more. Raises NotFound."""
        with self._database.transaction():
            row = self._database.one("SELECT state FROM container WHERE id = ?", (id,))
            if row and row[0] not in _LIVE:
                return False
            self.update(id, **changes)
        return True

    def change(self, id: str, changed: Callable[[dict[str, Any]], dict[str, Any]]) -> ContainerRow:
        """Change what the service keeps, at once for all; the row with it. Raises NotFound."""
        with self._database.transaction():
            rows = self._select("WHERE id = ?", (id,))
            if not rows:
                raise _no_container(id)
            record = quickjson.dumps(changed(quickjson.loads(rows[0].config_json)))
            self.update(id, config_json=record)
        row = rows[0].replace(config_json=record)
        write_atomic(self.file(id, _RECORD), self._description(row))
        return row

    def get(self, text: str) -> ContainerRow:
        """By full name, full id or unique id prefix. Raises NotFound, Conflict when ambiguous."""
        name = text.removeprefix("/")
        rows = self._select("WHERE id = ? OR name = ? ORDER BY id = ? DESC", (text, name, text))
        if not rows and text:
            rows = self._select("WHERE id >= ? AND id < ? LIMIT 2", (text, text + "g"))
        if not rows:
            raise _no_container(text)
        if len(rows) > 1 and text not in (rows[0].id, rows[0].name):
            raise Conflict(f"several containers have an id that starts with {text}")
        return rows[0]

    def has(self, id: str) -> bool:
        """Whether there is one of this full id."""
        return self._database.one("SELECT 1 FROM container WHERE id = ?", (id,)) is not None

    def list(self, *, all: bool = True) -> List[ContainerRow]:
        """The newest first; `all` False: only running ones (by their recorded state)."""
        return self._select(
            ("" if all else "WHERE state IN ('running', 'restarting') ") + "ORDER BY created DESC, id"
        )

    def of_image(self, digest: str) -> List[ContainerRow]:
        """Containers made from this manifest, or that have it mounted, the newest first."""
        return [row for row in self.list() if digest in row.images]

    def images(self) -> set[str]:
        """The manifests that containers need."""
        return {digest for row in self.list() for digest in row.images}

    def delete(self, id: str) -> bool:
        """Drop the row; discard the active first. False if there was none."""
        return self._database.change("DELETE FROM container WHERE id = ?", (id,)) > 0

    def folder(self, id: str) -> str:
        """The path ROOT/containers/<id>; nothing is created."""
        return f"{self._root}/containers/{id}"

    def file(self, id: str, name: str) -> str:
        """The path ROOT/containers/<id>/<name>; nothing is created."""
        return f"{self._root}/containers/{id}/{name}"

    def network(self, row: ContainerRow) -> dict[str, Any]:
        """What a container that runs has got; nothing for one that has no network of its own."""
        try:
            with open(self.file(row.id, NETWORK), "rb") as file:
                found: dict[str, Any] = quickjson.loads(file.read())
        except (OSError, ValueError):
            return {}
        return found if row.state == "running" else {}

    def _select(self, rest: str, values: tuple[Any, ...] = ()) -> List[ContainerRow]:
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM container {rest}", values)
        return [_row(row) for row in rows]


_FIELDS_SET = frozenset(_FIELDS)


def _row(row: tuple[Any, ...]) -> ContainerRow:
    values = dict(zip(_FIELDS, row, strict=True))
    values["auto_remove"] = bool(values["auto_remove"])
    return ContainerRow(**values)


def _no_container(text: str) -> NotFound:
    return NotFound(f"No such container: {text}")


def _taken(name: str, id: str) -> Conflict:
    return Conflict(
        f'the container name "/{name}" is already in use by container "{id}"',
        hint="remove or rename that container to be able to reuse that name",
    )
