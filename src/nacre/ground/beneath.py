"""Folders beneath a root, by descriptor: opened once, kept while in use, removed as trees.

Nothing here follows a link out of the root: paths are resolved by openat2(2) with RESOLVE_IN_ROOT, names
never. Descriptors are O_PATH, so that a folder needs search permission only.
"""

from __future__ import annotations

import errno
import os
import stat

from . import linux

MAX_OPEN = 96
"""Folders kept open at once, far below the 1,024 descriptors that a process usually may have."""

_STRAIGHT = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS
_RESOLVE = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Key = tuple[int, int]
"""Device and inode: what a folder is, whatever path led to it."""


class Folder:
    """An open folder and its key. The descriptor is closed with the last reference, unless borrowed:
    a folder may be in use while the paths that led to it are forgotten.
    """

    __slots__ = ("_borrowed", "fd", "key")

    def __init__(self, fd: int, key: Key, borrowed: bool = False) -> None:
        self.fd, self.key, self._borrowed = fd, key, borrowed

    def __del__(self) -> None:
        if not self._borrowed:
            os.close(self.fd)


class Folders:
    """Open folders by path beneath `root_fd`, which stays the caller's. b"" is the root."""

    def __init__(self, root_fd: int) -> None:
        self.root_fd = root_fd
        self.root = Folder(root_fd, key_of(os.fstat(root_fd)), borrowed=True)
        self.known: dict[bytes, Folder] = {}
        """What is open, without the root."""

    def get(self, path: bytes) -> Folder | None:
        """The folder at `path` if it is open."""
        return self.known.get(path) if path else self.root

    def resolve(self, path: bytes, flags: int = _FOLDER) -> int:
        """A new descriptor for the folder at `path`, links followed within the root. Raises OSError."""
        return linux.openat2(self.root_fd, path or b".", flags, resolve=_RESOLVE)

    def open(self, path: bytes) -> tuple[int, bytes]:
        """A new O_PATH descriptor for the folder at `path`, and its path without links. Raises OSError."""
        if not path:
            return self.resolve(path), path
        try:
            return self.straight(path), path
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        fd = self.resolve(path)
        root = os.readlink(b"/proc/self/fd/%d" % self.root_fd).rstrip(b"/") + b"/"
        real = os.readlink(b"/proc/self/fd/%d" % fd)
        return fd, real[len(root) :] if real.startswith(root) else path

    def straight(self, path: bytes) -> int:
        """A new O_PATH descriptor for the folder at `path`, if no link is on the way. Raises OSError."""
        return linux.openat2(self.root_fd, path or b".", _FOLDER, resolve=_STRAIGHT)

    def keep(self, path: bytes, fd: int) -> tuple[Folder, os.stat_result]:
        """Take over `fd` as the folder at `path`."""
        info = os.fstat(fd)
        folder = Folder(fd, key_of(info))
        self.also(path, folder)
        return folder, info

    def also(self, path: bytes, folder: Folder) -> None:
        """A path leads to an open folder."""
        if len(self.known) >= MAX_OPEN:
            self.known.clear()
        self.known[path] = folder

    def forget(self) -> None:
        """Close all that is not in use, because paths may mean something else now; more can be opened."""
        self.known.clear()


def key_of(info: os.stat_result) -> Key:
    """Device and inode of what `info` describes."""
    return info.st_dev, info.st_ino


def open_child(folder_fd: int, name: bytes | str) -> int:
    """An O_PATH descriptor for the folder `name`, never through a link. Raises OSError."""
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder_fd)


def look(folder_fd: int, name: bytes | str) -> os.stat_result | None:
    """What `name` itself is; None when there is nothing."""
    try:
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_listing(fd: int) -> int:
    """A readable descriptor for the folder open as `fd`. Raises OSError."""
    return os.open(".", LISTING, dir_fd=fd)


def names_in(fd: int) -> list[str]:
    """The names in the folder open as `fd`, unsorted."""
    listing = open_listing(fd)
    try:
        return os.listdir(listing)
    finally:
        os.close(listing)


def make_searchable(fd: int, mode: int) -> None:
    """Let the owner into the folder open as `fd`, if its mode forbids it to him. Root needs no leave."""
    if mode & 0o700 != 0o700 and os.geteuid():
        # fchmod(2) refuses O_PATH descriptors; the magic link of /proc leads to the very inode
        os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(mode) | 0o700)


def remove(folder_fd: int, name: bytes | str) -> None:
    """Remove `name`, with all that lies in it if it is a folder. Raises OSError; nothing there is no error.

    Not atomic. Never follows a link, and uses two descriptors however deep the tree.
    """
    try:
        os.unlink(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        info = look(folder_fd, name)
        if info is None or not stat.S_ISDIR(info.st_mode):
            raise
        _remove_folder(folder_fd, name)


def _remove_folder(folder_fd: int, name: bytes | str) -> None:
    fd, todo = _emptied(folder_fd, name)
    stack: list[tuple[bytes | str, Key, list[str]]] = [(name, key_of(os.fstat(fd)), todo)]
    try:
        while stack:
            name, _key, todo = stack[-1]
            if todo:
                child, inner = _emptied(fd, todo[-1])
                fd = _exchange(fd, child)
                stack.append((todo.pop(), key_of(os.fstat(fd)), inner))
                continue
            stack.pop()
            if stack:
                fd = _exchange(fd, _up(fd, stack[-1][1]))
            os.rmdir(name, dir_fd=fd if stack else folder_fd)
    finally:
        os.close(fd)


def _exchange(old: int, new: int) -> int:
    os.close(old)
    return new


def _up(fd: int, expected: Key) -> int:
    """The parent of the folder `fd`, which must still be the one that was descended from."""
    parent = os.open("..", LISTING, dir_fd=fd)
    if key_of(os.fstat(parent)) != expected:
        os.close(parent)
        raise OSError(16, "a directory was moved while it was being removed")
    return parent


def _emptied(folder_fd: int, name: bytes | str) -> tuple[int, list[str]]:
    """The folder `name`, open, with everything but its subfolders removed, and the names of those."""
    path_fd = open_child(folder_fd, name)
    try:
        make_searchable(path_fd, os.fstat(path_fd).st_mode)
        fd = open_listing(path_fd)
    finally:
        os.close(path_fd)
    try:
        return fd, [name for name in os.listdir(fd) if not _unlinked(fd, name)]
    except BaseException:
        os.close(fd)
        raise


def _unlinked(fd: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        info = look(fd, name)
        if info is None or not stat.S_ISDIR(info.st_mode):
            raise
        return False
    return True
