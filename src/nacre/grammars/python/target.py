"""The Python of a base image: what its markers evaluate to, and which wheels fit it, best first.

It is never asked: an image of another architecture cannot be run, and one of this machine need not be.
WheelSources: PEP 508 (markers), PEP 425 (tags), PEP 600 (manylinux), PEP 656 (musllinux).
"""

from __future__ import annotations

from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from packaging.markers import Environment
    from packaging.tags import Tag

MACHINES = {
    "amd64": "x86_64", "arm64": "aarch64", "386": "i686", "ppc64le": "ppc64le", "s390x": "s390x",
    "riscv64": "riscv64", "loong64": "loongarch64", "arm": "armv7l",
}  # fmt: skip
"""What Python calls the architectures of images."""
_OLD = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_FIRST = {"x86_64": 5, "i686": 5}
MAGICS = {
    (3, 8): 3413, (3, 9): 3425, (3, 10): 3439, (3, 11): 3495, (3, 12): 3531, (3, 13): 3571, (3, 14): 3627,
}  # fmt: skip
"""The numbers of byte code of released versions. Source: CPython, pycore_magic_number.h."""


class Target(Value):
    """A CPython: `version` as 3.12.4, `machine` as x86_64, `libc` glibc or musl, with its version."""

    version: str
    machine: str
    libc: str = "glibc"
    libc_version: tuple[int, int] = (2, 17)

    def __str__(self) -> str:
        return f"Python {self.version} on {self.machine} ({self.libc})"

    @property
    def short(self) -> str:
        """The version as in the names of folders: 3.12."""
        return ".".join(self.version.split(".")[:2])

    @property
    def pair(self) -> tuple[int, int]:
        """The version as numbers."""
        major, minor = self.short.split(".")
        return int(major), int(minor)

    @property
    def magic(self) -> int:
        """The number of its byte code; 0 for a version that is not known."""
        return MAGICS.get(self.pair, 0)

    @property
    def environment(self) -> Environment:
        """What markers of requirements are evaluated with, all of it."""
        found: Any = {
            "implementation_name": "cpython", "implementation_version": self.version, "os_name": "posix",
            "platform_machine": self.machine, "platform_python_implementation": "CPython",
            "platform_release": "", "platform_system": "Linux", "platform_version": "",
            "python_full_version": self.version, "python_version": self.short, "sys_platform": "linux",
        }  # fmt: skip
        return found  # type: ignore[no-any-return]

    @property
    def platforms(self) -> list[str]:
        """The platform tags that fit, best first."""
        return [*self._platforms(), f"linux_{self.machine}"]

    def _platforms(self) -> Iterator[str]:
        major, newest = self.libc_version
        if self.libc == "musl":
            yield from (f"musllinux_{major}_{minor}_{self.machine}" for minor in range(newest, -1, -1))
            return
        for minor in range(newest, _FIRST.get(self.machine, 17) - 1, -1):
            yield f"manylinux_{major}_{minor}_{self.machine}"
            if (major, minor) in _OLD:
                yield f"{_OLD[major, minor]}_{self.machine}"

    @property
    def tags(self) -> list[Tag]:
        """All tags of wheels that fit, best first."""
        from packaging.tags import compatible_tags, cpython_tags

        platforms, (major, minor) = self.platforms, self.pair
        abi = f"cp{major}{minor}"
        return [
            *cpython_tags((major, minor), [abi], platforms),
            *compatible_tags((major, minor), abi, platforms),
        ]  # fmt: skip

    def ranks(self) -> dict[Tag, int]:
        """The tags, each with its place."""
        return {tag: place for place, tag in reversed(list(enumerate(self.tags)))}
