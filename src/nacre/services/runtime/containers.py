"""What is known of each container, in a folder for each beneath the root of the runtime.

    ROOT/ID/state.json    a `Record`; without a pid while it is being made
            config.json   the config as it was at `create`, checked
            start         the Unix socket at which the process waits; gone once it was started

A container runs while the process with its pid has the start time that is recorded: a pid that was given to
another process is never taken for it. The folder is locked for as long as an operation changes it.
"""

from __future__ import annotations

import fcntl
import os

from ...ground import linux
from ...ground.bundle import groups
from ...ground.files import remove_tree, write_atomic
from ...ground.jsonfile import read_object
from ...words import quickjson
from ...words.errors import Conflict, InvalidName, NotFound
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"
_LONGEST = 1024
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_START = "start"


class Record(Value):
    """A container. `groups` are pairs of a folder and the names of its controllers."""

    id: str
    version: str
    bundle: str
    pid: int
    started: int
    created: str
    owner: str = ""
    groups: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def folders(self) -> list[str]:
        """The control groups, the one that shows most of the processes first."""
        return [folder for folder, _ in self.groups]


def check_id(name: str) -> None:
    """Raises InvalidName if it is none."""
    if not name or name in (".", "..") or len(name) > _LONGEST or set(name) - _LETTERS:
        raise InvalidName(f"invalid container id: {name!r}", hint="letters, digits and the four _ + - .")


def process_state(pid: int) -> tuple[str, int]:
    """The letter of a process's state and its start time; ("", 0) for none. Source: proc_pid_stat(5)."""
    try:
        _, fields = linux.process_stat(pid)
    except OSError:
        return "", 0
    return fields[0].decode(), int(fields[19])


def lives(record: Record) -> bool:
    """Whether the container's process, and no other with its pid, has not ended."""
    letter, started = process_state(record.pid)
    return letter not in ("", "Z", "X") and started == record.started


def held(record: Record) -> int:
    """A pidfd of the container's process, surely of this one; -1 if it has ended."""
    try:
        fd = os.pidfd_open(record.pid)
    except OSError:
        return -1
    if lives(record):
        return fd
    os.close(fd)
    return -1


class ContainerFolder:
    """The folder of one container, locked until it is closed."""

    def __init__(self, path: str) -> None:
        self.path, self._locked = path, False
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def lock(self) -> None:
        """Wait for others who change it."""
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        self._locked = True

    @property
    def socket(self) -> str:
        """A path that is short enough for an address, wherever the folder is."""
        return f"/proc/self/fd/{self.fd}/{_START}"

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Replace a file. Raises StoreError."""
        write_atomic(f"{self.path}/{name}", quickjson.dumps(value).encode())

    def config(self) -> dict[str, Any]:
        """The config as it was at `create`. Raises StoreError."""
        return read_object(f"{self.path}/config.json")

    def record(self) -> Record:
        """Raises NotFound while the container is being made."""
        fields = read_object(f"{self.path}/state.json")
        if not fields:
            raise _unknown(os.path.basename(self.path))
        pairs = {name: tuple(tuple(pair) for pair in fields[name]) for name in ("groups", "annotations")}
        return Record(**{**fields, **pairs})

    def keep(self, record: Record) -> None:
        """Write what is known. Raises StoreError."""
        self.write("state.json", {name: getattr(record, name) for name in Record._fields})

    def status(self, record: Record) -> str:
        """One of the five words of the runtime-spec and runc."""
        if not record.pid:
            return STOPPED if self._is_left() else CREATING
        if not lives(record):
            return STOPPED
        if os.path.lexists(f"{self.path}/{_START}"):
            return CREATED
        return PAUSED if groups.is_frozen(record.groups) else RUNNING

    def _is_left(self) -> bool:
        """Whether nobody works on it: who made it was killed."""
        if self._locked:
            return True
        other = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(other)
        return True

    def mark_started(self) -> None:
        """It waits no more."""
        os.unlink(_START, dir_fd=self.fd)

    def remove(self) -> None:
        """With all in it. Raises StoreError."""
        remove_tree(self.path)

    def __enter__(self) -> ContainerFolder:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self.fd)


class KnownContainers:
    """The root of the runtime."""

    def __init__(self, root: str) -> None:
        self.base = os.path.abspath(root)

    def new(self, name: str) -> ContainerFolder:
        """Make the folder of a new container, and lock it. Raises InvalidName, Conflict, OSError."""
        check_id(name)
        os.makedirs(self.base, 0o700, exist_ok=True)
        try:
            os.mkdir(f"{self.base}/{name}", 0o700)
        except FileExistsError:
            raise Conflict(f"container with id exists: {name}") from None
        folder = ContainerFolder(f"{self.base}/{name}")
        folder.lock()
        return folder

    def open(self, name: str, *, lock: bool = False) -> ContainerFolder:
        """The folder of a container. Raises InvalidName, NotFound."""
        check_id(name)
        try:
            folder = ContainerFolder(f"{self.base}/{name}")
        except OSError:
            raise _unknown(name) from None
        if lock:
            folder.lock()
        return folder

    def names(self) -> Iterator[str]:
        """The ids of all containers, sorted."""
        try:
            yield from sorted(os.listdir(self.base))
        except OSError:
            return


def _unknown(name: str) -> NotFound:
    """In the words of runc, which containerd looks for."""
    return NotFound(f'container "{name}" does not exist')
