"""A file system in a file, which can be looked at as its disk has it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from zygote import copy_sparse


class Disk:
    """A file system in a file, mounted at `place`; what it was given so far is in the file."""

    def __init__(self, folder: Path) -> None:
        self.place, self.file, self.base = folder / "disk", folder / "disk.img", folder / "base.img"
        self.place.mkdir()

    def make(self, size: int) -> None:
        """Raises AssertionError where such a thing is not possible."""
        with self.file.open("wb") as file:
            file.truncate(size)
        _do("mkfs.ext4", "-q", "-F", "-m", "0", str(self.file))
        self.mount()

    def mount(self) -> None:
        """The journal is written only when somebody asks for it, and renames wait for nothing."""
        _do("mount", "-o", "loop,commit=300,noauto_da_alloc", str(self.file), str(self.place))

    def umount(self) -> None:
        """Out of sight; what was killed may be using it a little longer, and nobody looks at it any more."""
        _do("umount", "-l", str(self.place))
        self.file.unlink()

    def keep(self) -> None:
        """Everything that is there now is on the disk."""
        _do("sync", "-f", str(self.place))
        copy_sparse(str(self.file), str(self.base))
        self.umount()

    def fresh(self) -> None:
        copy_sparse(str(self.base), str(self.file))
        self.mount()

    def cut(self, after: Path | None = None) -> None:
        """The power goes: now, or when the copy `after` was taken."""
        lost = after or self.file.with_name("now.img")
        if after is None:
            copy_sparse(str(self.file), str(lost))
        self.umount()
        lost.replace(self.file)
        self.mount()


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
