"""Trees that were mounted for the user to look into: `ROOT/mounted/<container id>` and `image-<hex>`.

Such a mount belongs to the mount namespace in which it was made, and to nobody's process: it stays until it
is released or the machine goes down. What of it is found without its container is released by the sweep,
and the image of a mount is kept by it.
"""

from __future__ import annotations

import os

from ..ground import linux
from ..ground.files import os_errors, private_dir, trace
from ..words.errors import Conflict, SandboxError
from .layout import mount_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from ..words.digest import Digest
    from ..words.mount import Mount

IMAGE = "image-"
_EBUSY, _EINVAL = 16, 22


def image_key(digest: Digest) -> str:
    """The name for the image of this manifest; a container's is its id."""
    return IMAGE + digest.hex


def is_mounted(root: str, key: str) -> bool:
    """Whether something is mounted there, in this mount namespace."""
    return os.path.ismount(mount_point(root, key))


def check_not_mounted(root: str, key: str, name: str) -> None:
    """Raises Conflict for a container `name` that is: two mounts must not write to one tree."""
    if is_mounted(root, key):
        raise Conflict(
            f"container {name} is mounted at {mount_point(root, key)}",
            hint=f"first run: nacre unmount {name}",
        )


def show(root: str, key: str, mount: Mount | int) -> str:
    """Mount a tree, or move the detached mount of a descriptor, to its place, nodev; gives the path.

    Raises SandboxError, StoreError.
    """
    from .shared import detached

    path = mount_point(root, key)
    private_dir(f"{root}/mounted")
    private_dir(path)
    trace("mounted:begun")
    fd = mount if isinstance(mount, int) else detached(root, mount)
    try:
        linux.mount_setattr(fd, add=linux.MOUNT_ATTR_NODEV)
        linux.move_mount(fd, linux.AT_FDCWD, path)
    except OSError as error:
        raise SandboxError(f"cannot mount at {path}: {error.strerror}") from None
    finally:
        if fd != mount:
            os.close(fd)
    return path


def release(root: str, key: str, *, force: bool = False) -> bool:
    """Unmount and remove the folder; False if nothing was mounted. Idempotent.

    Raises Conflict when somebody uses it; with `force` it goes as soon as nobody does any more.
    """
    path, there = mount_point(root, key), False
    try:
        linux.umount(path, linux.MNT_DETACH if force else 0)
        there = True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == _EBUSY:
            hint = "end the programs that use it, or use --force"
            raise Conflict(f"{path} is in use", hint=hint) from None
        if error.errno != _EINVAL:
            raise SandboxError(f"cannot unmount {path}: {error.strerror}") from None
    trace("mounted:released")
    with os_errors(f"remove {path}"):
        os.rmdir(path)
    return there


def every(root: str) -> list[str]:
    """The keys of what is mounted now, sorted."""
    return [key for key in _names(root) if is_mounted(root, key)]


def images(root: str) -> list[str]:
    """The manifests whose images are mounted."""
    return ["sha256:" + key.removeprefix(IMAGE) for key in every(root) if key.startswith(IMAGE)]


def tidy(root: str, containers: Container[str]) -> list[str]:
    """Release what has no container any more and remove what is not mounted; gives the keys."""
    keys = _names(root)
    gone = [key for key in keys if not is_mounted(root, key) or not _has_owner(key, containers)]
    for key in gone:
        release(root, key, force=True)
    return gone


def _has_owner(key: str, containers: Container[str]) -> bool:
    return key.startswith(IMAGE) or key in containers


def _names(root: str) -> list[str]:
    try:
        return sorted(os.listdir(f"{root}/mounted"))
    except FileNotFoundError:
        return []
