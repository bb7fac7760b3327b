"""Labels of SELinux on files, where it is enabled. Source: selinux(8), is_selinux_enabled(3)."""

from __future__ import annotations

import os

from .owners import each

CONTAINER_FILE = "system_u:object_r:container_file_t:s0"
"""What every container may use, in the usual policy (container-selinux)."""

_ATTRIBUTE = "security.selinux"


def is_enabled() -> bool:
    """Whether the kernel has a policy."""
    return os.path.exists("/sys/fs/selinux/enforce")


def label(path: str, context: str) -> None:
    """Label a file, or a folder with all in it. Raises OSError."""

    def change(folder: int, name: bytes) -> None:
        os.setxattr(
            b"/proc/self/fd/%d/%s" % (folder, name),
            _ATTRIBUTE,
            context.encode() + b"\0",
            follow_symlinks=False,
        )

    each(path, change)
