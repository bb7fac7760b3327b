"""RUN --mount: what each mount adds to the key, and what is bound into the container.

A bind shows a copy of the files selected, so .dockerignore holds for it, links lead nowhere, and what
the command writes there is dropped, as with docker. A cache is a folder of the store.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from io import BytesIO

from ...ground import ids, userns
from ...ground.extract import Form, extract
from ...ground.files import Lock, os_errors, private_dir
from ...images.model.runtime import VolumeMount
from .place import CopyOptions, LayerTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from ...grammars.dockerfile.instructions import Instruction
    from ...grammars.dockerfile.mounts import RunMount
    from ...words.progress import Progress
    from .items import CopySource
    from .select import Selection

    Fill = Callable[[str, str, Progress], object]
    """Gives a new cache, by the name of its folder, the files that it has elsewhere, if any."""

    class StepResource(Protocol):
        """What a step holds while it runs."""

        def release(self) -> None:
            """Let go of it. Idempotent."""


def check(
    mount: RunMount, item: Instruction, secrets: Mapping[str, bytes], agents: Mapping[str, str]
) -> None:  # fmt: skip
    """Refuse what cannot be had. Optional secrets and agents that nobody gave are left out."""
    if mount.kind == "ssh" and mount.source:
        raise item.error("--mount=type=ssh does not support source")
    if mount.kind == "ssh" and mount.required and agent_id(mount) not in agents:
        raise item.error(
            f"SSH agent {agent_id(mount)}: not found", hint=f"give it with --ssh {agent_id(mount)}"
        )
    if mount.kind == "secret" and mount.required and secret_id(mount) not in secrets:
        hint = f"give it with --secret id={secret_id(mount)},src=FILE"
        raise item.error(f"secret {secret_id(mount)}: not found", hint=hint)
    if mount.kind == "cache" and mount.source and not mount.source_stage:
        raise item.error("--mount=type=cache: source needs from", hint="from= is the stage or image it is in")


def in_namespace(mount: RunMount, space: str, workdir: str) -> RunMount:
    """A cache with an id in the namespace `space`, if there is one; other mounts as they are."""
    if not space or mount.kind != "cache":
        return mount
    name = mount.id or os.path.normpath(os.path.join(workdir, mount.target))
    return mount.replace(id=f"{space}/{name}")


def begun_from(mount: RunMount, chosen: Selection, content: str, item: Instruction) -> RunMount:
    """A cache that begins with these files: another one for other files, as with BuildKit."""
    if not chosen.is_folder:
        raise item.error(f"--mount: {mount.source!r} is not a directory, so no cache can begin with it")
    return mount.replace(id=f"{mount.id or mount.target}\0{content}")


def agent_id(mount: RunMount) -> str:
    """Which SSH agent a mount shows."""
    return mount.id or "default"


def secret_id(mount: RunMount) -> str:
    """Which secret a mount shows: `id`, else the last part of the target."""
    return mount.id or os.path.basename(mount.target)


def secret(mount: RunMount, secrets: Mapping[str, bytes], path: str) -> list[VolumeMount]:
    """A secret as the file `path`, to be bound where the mount wants it; [] if nobody gave it.

    Mode 0400 and owner 0 unless the mount says otherwise; with `env` and no target it is a variable only.
    """
    key = secret_id(mount)
    if key not in secrets or (mount.env and not mount.target):
        return []
    with os_errors("write a secret"), open(path, "xb", opener=_private) as file:
        file.write(secrets[key])
        os.fchmod(file.fileno(), 0o400 if mount.mode < 0 else mount.mode)
        if not userns.current().single:
            ids.chown(file.fileno(), max(mount.uid, 0), max(mount.gid, 0))
    return [VolumeMount(path, mount.target or f"/run/secrets/{key}", True, "lend")]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def copy_out(source: CopySource, chosen: Selection, folder: str) -> str:
    """Copy what was selected into a new folder; the path to bind: a folder, or the one file in it."""
    target = LayerTarget(lambda _: None, CopyOptions())
    target.put(chosen, b"/mount" + (b"/" if chosen.is_folder else b""), source.open)
    private_dir(folder)
    whole = not userns.current().single
    with os_errors(f"write to {folder}"):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            entries = ((entry, payload or BytesIO()) for entry, payload in target.entries())
            extract(entries, fd, Form(whiteouts="delete", owners=whole, devices=False))
        finally:
            os.close(fd)
    return f"{folder}/mount"


class SharedLock:
    """A shared flock on the file that a `Lock` would hold alone: whoever gets the `Lock` is alone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def attempt(cls, path: str) -> SharedLock | None:
        """The lock, or None while somebody holds it alone. Raises OSError."""
        while True:
            lock = cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            try:
                fcntl.flock(lock._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if os.fstat(lock._fd).st_nlink:
                    return lock
            except BlockingIOError:
                lock.release()
                return None
            lock.release()  # its holder removed the file, so it locks nothing

    def release(self) -> None:
        """Unlock the cache. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def cache_folder(
    mount: RunMount, path: str, locks: list[StepResource], make: Callable[[], str], *,
    alone: bool = False,
) -> str:  # fmt: skip
    """The folder of a cache, `path` or one beside it, made if absent; its lock is added to `locks`.

    `make` gives a new one, elsewhere in the store.

    While a build uses the folder PATH it holds PATH.lock. `locked` waits until it is alone, as every cache
    does if `alone`; `private` and `shared` take the first of PATH, PATH-1… that they can have at once.
    Source: BuildKit, "getRefCacheDir".
    """
    private_dir(os.path.dirname(path))
    if mount.sharing == "locked" or (alone and mount.sharing != "private"):
        locks.append(Lock(f"{path}.lock"))
    else:
        path = _free(path, locks, Lock.attempt if mount.sharing == "private" else SharedLock.attempt)
    if not os.path.isdir(path):
        _made_once(path, make)
    return path


def cache_name(mount: RunMount, target: str) -> str:
    """Caches of one id are one folder only if they begin alike, with the same owner and mode."""
    name = (mount.id or target).encode("utf-8", "surrogateescape")
    if (mount.uid, mount.gid, mount.mode) != (-1, -1, -1):
        mode = 0o755 if mount.mode < 0 else mount.mode
        name += b"\0%d:%d:%o" % (max(mount.uid, 0), max(mount.gid, 0), mode)
    return hashlib.sha256(name).hexdigest()[:32]


def _made_once(path: str, make: Callable[[], str]) -> None:
    """By one step at a time, and all at once: several may share it."""
    making = Lock(f"{path}.new.lock")
    try:
        if not os.path.isdir(path):
            with os_errors(f"create the directory {path}"):
                os.rename(make(), path)
    finally:
        making.release(remove=True)


def new_cache(mount: RunMount, source: CopySource | None, chosen: Selection | None, folder: str) -> str:
    """The directory of a new cache, within `folder`: empty, or with the files that it begins with."""
    if source and chosen:
        path, (_, top) = copy_out(source, chosen, folder), chosen.files[0]
        mode, uid, gid = top.mode, top.uid, top.gid
    else:
        private_dir(path := folder)
        mode, uid, gid = 0o755, 0, 0
    os.chmod(path, mode if mount.mode < 0 else mount.mode)
    uid, gid = (was if said < 0 else said for was, said in ((uid, mount.uid), (gid, mount.gid)))
    if (uid or gid) and not userns.current().single:
        ids.chown(path, uid, gid)
    return path


def _free(path: str, locks: list[StepResource], attempt: Callable[[str], Lock | SharedLock | None]) -> str:
    """The first of `path`, `path-1`… whose lock can be had."""
    number = 0
    while True:
        name = f"{path}-{number}" if number else path
        lock = attempt(f"{name}.lock")
        if lock is not None:
            locks.append(lock)
            return name
        number += 1
