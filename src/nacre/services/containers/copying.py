"""`cp`: files between a container and the host, or a tar.

    source        the entries of a folder or of one file, named as they shall arrive
    destination   docker's rules say where: in a folder, as a new name, or in place of a file

Both ends in the container are resolved by descriptor within its root (openat2, RESOLVE_IN_ROOT), at the
very moment they are used: a container that swaps a folder for a link meanwhile changes only itself.
What the user has mounted over a path of the container is found by its path as written.
Source of the rules: docker's reference of `docker container cp`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager
from io import BytesIO

from ...grammars.layer import owner
from ...grammars.tar.entry import Entry
from ...ground.extract import Form, extract
from ...ground.files import Root, reopen_file, trace
from ...ground.scan import scan
from ...words.digest import Digest
from ...words.errors import Conflict, NotFound, StoreError, UsageError
from ...words.mount import Directory
from ...words.quickjson import loads
from ...words.value import Value
from .difference import frozen
from .owners import has_own_users, owners_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from ...grammars.tar.entry import Reader
    from ...ground.extract import Stats
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from .owners import OwnerMapping

    Opener = Callable[[], Reader]
    Member = tuple[Entry, Opener | None]

_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: "file", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char", stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}  # fmt: skip
_PLAIN = Form(whiteouts="none")


class Inside(Root):
    """The root of a container: nothing opened through it leaves it."""

    def under(self, fd: int, rest: bytes) -> tuple[int, bytes]:
        """A root for an extraction and where `rest` in the folder `fd` is in it."""
        base = os.readlink(b"/proc/self/fd/%d" % self.fd).rstrip(b"/") + b"/"
        path = os.readlink(b"/proc/self/fd/%d" % fd)
        return self.fd, _join(path[len(base) :] if path.startswith(base) else b"", rest)


class MountedFile(Inside):
    """A file that is mounted by itself: every path is that file, and nothing can be made beside it."""

    def open(self, path: bytes | str, flags: int, mode: int = 0) -> int:
        """The same descriptor once more."""
        return os.dup(self.fd)


class Host:
    """The host, whose links the user's path may follow; what is copied stays in the folder it leads to."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def open(self, path: bytes | str, flags: int, mode: int = 0) -> int:
        """Open by the working directory. Raises OSError."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def under(self, fd: int, rest: bytes) -> tuple[int, bytes]:
        """The folder itself is the root."""
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            above, _, rest = os.readlink(b"/proc/self/fd/%d" % fd).rpartition(b"/")
            self._fds.append(os.open(above or b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        else:
            self._fds.append(os.dup(fd))
        return self._fds[-1], rest

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_exc: object) -> None:
        while self._fds:
            os.close(self._fds.pop())


class CopyPath(Value):
    """Where names are resolved, and a path there as the user wrote it. `owners` are mapped if not None.

    `container` is the name of the one that it is in, and `top` where the root is mounted there, for errors.
    """

    root: Inside | Host
    path: bytes
    readonly: bool = False
    owners: OwnerMapping | None = None
    container: str = ""
    top: bytes = b""

    def explained(self, path: bytes, error: OSError) -> NotFound | UsageError:
        """What to raise for an error of `path` in this root."""
        if self.container and error.errno == errno.ENOENT:
            return NotFound(f"could not find the file {_show(self.top + path)} in container {self.container}")
        return _explained(self.top + path, error)


class ResolvedSource(Value):
    """What is to be copied: O_PATH descriptor `fd`, its last name, whether only the content is meant."""

    fd: int
    name: bytes
    folder: bool
    content: bool
    owners: OwnerMapping | None = None


class ResolvedTarget(Value):
    """Where it goes: beneath `fd`, with `prefix` before every name; `exists`: that is a folder already."""

    fd: int
    prefix: bytes
    exists: bool
    owners: OwnerMapping | None = None


@contextmanager
def opened(
    store: Store, row: ContainerRow, path: bytes, *, write: bool, mounted: bool = False
) -> Iterator[CopyPath]:
    """`path` of a container, running or not. Raises NotFound, Conflict, SandboxError.

    When it runs, the process must not have entered a user namespace of its own (`borrow`); otherwise it
    must be `userns.mapped()`, and the container cannot start while this is open for writing. `mounted`: it
    is known to run and not to have a real folder (`has_folder`), so that `store` may be closed already.
    """
    entry = _mount_of(row, path)
    mounted = mounted or (row.state == "running" and not has_folder(store, row))
    owners = owners_of(row) if mounted else None
    if owners and write:
        owners.own_files()
    if entry:
        place = _mounted_place(store, row, path, entry, running=mounted)
        with place.root:
            yield place.replace(owners=owners, container=row.name)
    elif mounted:
        with Inside(borrowed(row)) as root:
            yield CopyPath(root, path, owners=owners, container=row.name)
    else:
        alone = write and not row.is_live
        with idle(store, row, alone), Inside(_mounted(store, row, write)) as root:
            yield CopyPath(root, path, container=row.name)


def borrowed(row: ContainerRow, path: str = "/") -> int:
    """A descriptor of the root of a running container, see `borrow`. Raises Conflict, SandboxError."""
    from ...ground.sandbox.borrow import borrow
    from .program import Program

    with Program(row) as (pid, pidfd):
        return borrow(pidfd, pid, path, own_users=has_own_users(row))


def image_root(store: Store, row: ContainerRow) -> Inside:
    """The root of a container that was never started. Raises SandboxError."""
    return Inside(_mounted(store, row, False))


def _mounted(store: Store, row: ContainerRow, write: bool) -> int:
    from ...stores.layout import mount_point
    from ...stores.mounted import is_mounted
    from ...stores.shared import opened

    if is_mounted(store.root, row.id):
        return os.open(mount_point(store.root, row.id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    active = store.actives.find(row.id)
    if active is None:
        raise NotFound(f"the file system of container {row.name} is missing")
    return opened(store.root, active.mount if write else frozen(active))


def has_folder(store: Store, row: ContainerRow) -> bool:
    """Whether its root is a real folder, the same for those inside and outside."""
    active = store.actives.find(row.id)
    return active is not None and isinstance(active.mount, Directory)


@contextmanager
def idle(store: Store, row: ContainerRow, write: bool) -> Iterator[None]:
    """Keep the container from being started: two mounts must not write to one upper folder."""
    if not write:
        yield
        return
    path = store.containers.file(row.id, "lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        trace("copy:begun")
        yield
        trace("copy:written")
    except BlockingIOError:
        raise Conflict(f"container {row.name} is being started; try again") from None
    finally:
        os.close(fd)


def _mount_of(row: ContainerRow, path: bytes) -> Mapping[str, Any] | None:
    """The mount that the path is in, of those that were asked for."""
    plain = os.path.normpath(b"/" + path.lstrip(b"/"))
    best: Mapping[str, Any] | None = None
    for mount in loads(row.config_json)["config"].get("mounts", ()):
        target = os.fsencode(mount["destination"].rstrip("/"))
        inside = plain == target or plain.startswith(target + b"/")
        longer = best is None or len(mount["destination"]) > len(best["destination"])
        if mount["type"] in ("bind", "image") and inside and longer:
            best = mount
    return best


def _mounted_place(
    store: Store, row: ContainerRow, path: bytes, entry: Mapping[str, Any], *, running: bool
) -> CopyPath:
    """The path in what is mounted: as a running container has it, else from where it would be mounted."""
    target, subpath = os.fsencode(entry["destination"].rstrip("/")), entry.get("subpath") or "."
    readonly = "ro" in entry.get("options", ())
    try:
        fd = borrowed(row, entry["destination"]) if running else _source_of(store, entry, subpath)
    except OSError as error:
        raise _explained(target, error) from None
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        plain = os.path.normpath(b"/" + path.lstrip(b"/"))
        rest = plain[len(target) :] + path[len(path.rstrip(b"/.")) :]
        return CopyPath(Inside(fd), rest or b"/", readonly, top=target)
    name = os.path.basename(entry["source"] if subpath == "." else subpath)
    return CopyPath(MountedFile(fd), os.fsencode(name), readonly=True)


def _source_of(store: Store, entry: Mapping[str, Any], subpath: str) -> int:
    from ...ground.mounts import beneath
    from ...stores.shared import opened as opened_mount

    if entry.get("layers"):
        layers = [Digest(layer) for layer in entry["layers"]]
        whole = opened_mount(store.root, store.trees.view(layers))
    else:
        whole = os.open(entry["source"], os.O_PATH | os.O_CLOEXEC)
    if subpath == ".":
        return whole
    try:
        return beneath(whole, subpath)
    finally:
        os.close(whole)


def source(place: CopyPath, *, follow: bool = False) -> ResolvedSource:
    """What lies at a place; a link at its end is followed with `follow` or a slash. Raises NotFound."""
    path = place.path
    content = path == b"." or path.endswith(b"/.")
    through = follow or path.endswith((b"/", b"/.", b"/..")) or path in (b"", b".", b"..")
    try:
        fd = place.root.open(path or b"/", os.O_PATH | (0 if through else os.O_NOFOLLOW))
    except OSError as error:
        raise place.explained(path, error) from None
    folder = stat.S_ISDIR(os.fstat(fd).st_mode)
    if not folder and path.endswith((b"/", b"/.")):
        raise UsageError(f"{_show(path)} is not a directory")
    name = os.path.basename(os.path.normpath(b"/" + path))
    return ResolvedSource(fd, name, folder, content or not name, place.owners)


def members(found: ResolvedSource, top: bytes, form: Form = _PLAIN) -> Iterator[Member]:
    """The entries of a source, its own one named `top`. Raises StoreError. Closes the source."""
    try:
        seen = found.owners.seen if found.owners else owner.given
        if not found.folder:
            entry, payload = _single(found.fd, top)
            yield seen(entry), payload
            return
        fd = os.open(".", _LISTING, dir_fd=found.fd)
        try:
            for entry, payload in scan(fd, form):
                yield seen(_moved(entry, top)), payload
        finally:
            os.close(fd)
    except OSError as error:
        raise StoreError(f"cannot read {_show(found.name)}: {(error.strerror or '').lower()}") from None
    finally:
        os.close(found.fd)


def _single(fd: int, path: bytes) -> Member:
    info = os.fstat(fd)
    kind = _KINDS.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        raise UsageError(f"{_show(path)} is a socket, which cannot be copied")
    entry = Entry(
        path, kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns,
        info.st_size if kind == "file" else 0, os.readlink(b"", dir_fd=fd) if kind == "symlink" else b"",
        os.major(info.st_rdev), os.minor(info.st_rdev), xattrs=_owner_of(fd),
    )  # fmt: skip
    if kind != "file":
        return entry, None
    return entry, lambda: _Exactly(reopen_file(fd, path), entry.size)


def _owner_of(fd: int) -> tuple[tuple[bytes, bytes], ...]:
    """The attribute with an owner that a program of the container has given, if there is one."""
    try:
        return ((owner.ATTRIBUTE, os.getxattr(f"/proc/self/fd/{fd}", owner.ATTRIBUTE)),)
    except OSError:
        return ()


class _Exactly:
    """As many bytes as were announced, of a file that somebody may be writing."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self._left = fd, size

    def read(self, count: int, /) -> bytes:
        data = os.read(self._fd, min(count, self._left)) if self._left else b""
        self._left -= len(data)
        return data

    def __del__(self) -> None:
        os.close(self._fd)


def _moved(entry: Entry, top: bytes) -> Entry:
    path = _join(top, entry.path)
    return entry._replace(path=path, link=_join(top, entry.link) if entry.kind == "hardlink" else entry.link)


def _join(top: bytes, path: bytes) -> bytes:
    return b"/".join(part for part in (top, path) if part)


def target(place: CopyPath, *, folder: bool, content: bool, name: bytes) -> ResolvedTarget:
    """Where a source goes, by docker's rules; `folder`, `content` and `name` as in Source.

    Raises NotFound, UsageError, Conflict.
    """
    if place.readonly:
        raise Conflict(f"{_show(place.path)} is mounted read-only")
    path = place.path
    try:
        fd = place.root.open(path or b"/", os.O_PATH)
    except FileNotFoundError:
        return _new(place, folder).replace(owners=place.owners)
    except OSError as error:
        raise place.explained(path, error) from None
    try:
        return _there(place, fd, folder, content, name).replace(owners=place.owners)
    finally:
        os.close(fd)


def _new(place: CopyPath, folder: bool) -> ResolvedTarget:
    bare = place.path.rstrip(b"/")
    if place.path.endswith(b"/") and not folder:
        raise NotFound(f"no such directory: {_show(place.path)}")
    above, _, name = bare.rpartition(b"/")
    try:
        fd = place.root.open(above or (b"/" if bare[:1] == b"/" else b"."), os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise place.explained(above, error) from None
    try:
        return ResolvedTarget(*place.root.under(fd, name), False)
    finally:
        os.close(fd)


def _there(place: CopyPath, fd: int, folder: bool, content: bool, name: bytes) -> ResolvedTarget:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        return ResolvedTarget(*place.root.under(fd, b"" if content else name), content)
    if folder:
        raise UsageError(f"cannot copy a directory to the file {_show(place.path)}")
    if place.path.endswith(b"/"):
        raise UsageError(f"{_show(place.path)} is not a directory")
    return ResolvedTarget(*place.root.under(fd, b""), False)


def write(found: Iterable[Member], goal: ResolvedTarget, *, owners: str, form: Form = _PLAIN) -> Stats:
    """Make the members at the target. `owners`: keep, root, caller (whoever runs this), or beside: keep them
    as a program of the container does where it cannot have others.

    Folders merge; a folder never takes the place of something else, nor the reverse. Raises
    InvalidArchive, StoreError.
    """
    form = form.replace(keep_kinds=True, owners=form.owners and owners != "caller")

    def arriving() -> Iterator[tuple[Entry, Reader]]:
        for entry, payload in found:
            if entry.path or not goal.exists:  # a folder that exists stays as it is
                entry = entry._replace(uid=0, gid=0) if owners == "root" else entry
                entry = goal.owners.given(entry) if goal.owners else entry
                entry = _with_attribute(entry) if owners == "beside" else entry
                yield _moved(entry, goal.prefix), payload() if payload else BytesIO()

    return extract(arriving(), goal.fd, form)


def _with_attribute(entry: Entry) -> Entry:
    if entry.kind not in ("file", "dir"):
        return entry
    said = owner.ATTRIBUTE, owner.text(entry.uid, entry.gid)
    return entry._replace(xattrs=tuple(sorted((*owner.without(entry.xattrs), said))))


def _explained(path: bytes, error: OSError) -> NotFound | UsageError:
    if error.errno == errno.ENOTDIR:
        return UsageError(f"{_show(path)} is not a directory")
    reason = "too many links" if error.errno == errno.ELOOP else (error.strerror or "").lower()
    return NotFound(f"cannot open {_show(path)}: {reason}")


def _show(path: bytes) -> str:
    return path[:200].decode("utf-8", "backslashreplace")
