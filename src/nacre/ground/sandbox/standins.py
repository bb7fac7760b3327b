"""Standing in for mounts where there are none: files put into a root while a program runs, and taken away.

    aside/list    a line for each place, in the order they were covered: [path, kept, back, made]
    aside/<n>     what was there, as it was

What is covered is renamed, so that it comes back as it was; the time of the folder that holds it is left
alone. A line is written before its place is touched, so that what a killed program leaves can be undone:
by the next one, before it starts, and until then by whoever compares the root (`covered`).
"""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from ...words.lines import lines
from ...words.quickjson import dumps, loads
from .. import linux
from ..beneath import remove
from ..files import os_errors, private_dir, remove_tree, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ...words.mount import Directory

    Make = Callable[[int, str], None]

_LIST = "list"
_MAX_LINKS = 40
_ENXIO = 6
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_IN_ROOT = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
_STRAIGHT = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS


def covered(aside: str) -> set[bytes]:
    """The paths, relative to the root, that are covered or were made; nothing there is the program's."""
    return {os.fsencode(path) for path, _, _, _ in _read(aside)}


def _read(aside: str) -> list[tuple[str, str, str, bool]]:
    try:
        with open(f"{aside}/{_LIST}", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            records = lines(file.read())
    except FileNotFoundError:
        return []
    found = []
    for line in records:
        try:
            found.append(tuple(loads(line)))
        except ValueError:  # the last one, cut off by a kill before anything was done
            break
    return found


class Standins:
    """`with Standins(root) as places:` what was put is gone at the end. Raises SandboxError, StoreError."""

    def __init__(self, root: Directory) -> None:
        self._aside = root.aside
        self._prefix = os.path.realpath(root.path)
        self._root = os.open(root.path, _FOLDER)
        self._number = 0

    def __enter__(self) -> Self:
        try:
            self._restore()
            with os_errors("prepare a root"):
                private_dir(self._aside)
        except BaseException:
            os.close(self._root)
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        try:
            self._restore()
        finally:
            os.close(self._root)

    def folder(self, target: str, mode: int = 0o755) -> None:
        """Make an empty directory at `target` unless there is one."""

        def make(parent: int, name: str) -> None:
            os.mkdir(name, mode, dir_fd=parent)
            os.chmod(name, mode, dir_fd=parent)

        self._put(target, make)

    def file(self, target: str, source: str) -> None:
        """A copy of the regular file `source`, with its mode."""
        with open(source, "rb") as file:
            data, mode = file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)

        def make(parent: int, name: str) -> None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(name, flags, mode, dir_fd=parent)
            try:
                write_all(fd, data)
                os.fchmod(fd, mode)
            finally:
                os.close(fd)

        self._put(target, make)

    def lend(self, target: str, source: str) -> None:
        """`source` itself, a folder or file of the same file system that nobody else uses; it goes back."""
        self._put(target, lambda parent, name: os.rename(source, name, dst_dir_fd=parent), back=source)

    def device(self, target: str, mode: int, device: int) -> bool:
        """A device node that can be opened; False, and nothing, where that is not permitted."""

        def make(parent: int, name: str) -> None:
            os.mknod(name, mode, device, dir_fd=parent)
            os.chmod(name, stat.S_IMODE(mode), dir_fd=parent)

        if not self._can_make(mode, device):
            return False
        self._put(target, make)
        return True

    def _can_make(self, mode: int, device: int) -> bool:
        """A mount without devices lets them be made and not opened."""
        path = f"{self._aside}/device"
        try:
            os.mknod(path, mode, device)
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
        except OSError as error:
            return error.errno == _ENXIO  # /dev/tty where there is no terminal
        finally:
            if os.path.lexists(path):
                os.unlink(path)
        return True

    def mount_point(self, target: str, *, folder: bool) -> None:
        """Something to mount on, if nothing is there."""
        try:
            os.close(linux.openat2(self._root, target, os.O_PATH, 0, _IN_ROOT))
        except FileNotFoundError:
            if folder:
                self.folder(target)
            else:
                self._put(target, lambda parent, name: os.mknod(name, 0o644 | stat.S_IFREG, dir_fd=parent))

    def _put(self, target: str, make: Make, back: str = "") -> None:
        try:
            parent, path = self._place(target)
        except OSError as error:
            raise SandboxError(f"cannot open {target} in the container: {error.strerror}") from None
        try:
            self._cover(parent, path, make, back)
        except OSError as error:
            raise SandboxError(f"cannot create {target} in the container: {error.strerror}") from None
        finally:
            os.close(parent)

    def _cover(self, parent: int, path: str, make: Make, back: str) -> None:
        name, before = os.path.basename(path), os.fstat(parent)
        there = _exists(parent, name)
        self._number += there
        self._note(path, str(self._number) if there else "", back, False)
        if there:
            os.rename(name, f"{self._aside}/{self._number}", src_dir_fd=parent)
        make(parent, name)
        os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _place(self, target: str) -> tuple[int, str]:
        """The folder that holds the place, and the path, links followed within the root."""
        for _attempt in range(_MAX_LINKS):
            above, name = os.path.split(os.path.normpath("/" + target))
            if not name:
                break
            parent = self._folder(above)
            try:
                to = os.readlink(name, dir_fd=parent)
            except OSError:  # no link
                here = os.readlink(f"/proc/self/fd/{parent}")
                return parent, os.path.join(here[len(self._prefix) :], name).lstrip("/")
            os.close(parent)
            target = os.path.join(above, to)
        raise SandboxError(f"cannot create {target} in the container: too many links")

    def _folder(self, path: str) -> int:
        """The folder at `path`, made if absent."""
        try:
            return linux.openat2(self._root, path, _FOLDER, 0, _IN_ROOT)
        except FileNotFoundError:
            pass  # it is made
        parent, place = self._place(path)
        try:
            before, name = os.fstat(parent), os.path.basename(place)
            self._note(place, "", "", True)
            os.mkdir(name, 0o755, dir_fd=parent)
            os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
            return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        finally:
            os.close(parent)

    def _note(self, path: str, kept: str, back: str, made: bool) -> None:
        line = dumps([path, kept, back, made]).encode("utf-8", "surrogateescape") + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(f"{self._aside}/{_LIST}", flags, 0o600)
        try:
            write_all(fd, line)
        finally:
            os.close(fd)

    def _restore(self) -> None:
        """Undo all, the last first. What the program has removed or replaced meanwhile is no error."""
        for path, kept, back, made in reversed(_read(self._aside)):
            try:
                self._uncover(path, kept, back, made)
            except OSError:
                continue
        remove_tree(self._aside)

    def _uncover(self, path: str, kept: str, back: str, made: bool) -> None:
        above, name = os.path.split(path)
        parent = linux.openat2(self._root, above or ".", _FOLDER, 0, _STRAIGHT)
        try:
            before = os.fstat(parent)
            if made:
                os.rmdir(name, dir_fd=parent)
            else:
                self._swap(parent, name, kept, back)
            os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
        finally:
            os.close(parent)

    def _swap(self, parent: int, name: str, kept: str, back: str) -> None:
        if kept and not os.path.lexists(f"{self._aside}/{kept}"):
            return  # it was never moved
        if back and not os.path.lexists(back) and _is_plain(parent, name):
            os.rename(name, back, src_dir_fd=parent)
        remove(parent, name)
        if kept:
            os.rename(f"{self._aside}/{kept}", name, dst_dir_fd=parent)


def _exists(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_plain(parent: int, name: str) -> bool:
    """A real folder or file: a link of the program's must never stand where a folder of ours was."""
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)
