"""`:U`, `:z` and `:Z`: what is in a volume gets the owner, or the label, that a container needs.

Source: podman-run(1), --volume; container-selinux.
"""

from __future__ import annotations

import os

from ...ground import owners, selinux
from ...ground.files import os_errors
from ...ground.sandbox.users import resolve
from ...words.errors import SandboxError
from ...words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...images.model.runtime import VolumeMount
    from ...stores.containers import ContainerRow
    from .copying import Inside


def make_folders(paths: Iterable[str]) -> None:
    """Folders of the host that are to be mounted, where absent, as docker makes them. Raises StoreError."""
    for path in paths:
        if not os.path.lexists(path):
            with os_errors(f"create {path}"):
                os.makedirs(path)


def apply(row: ContainerRow, volume: VolumeMount, root: Callable[[], Inside]) -> None:
    """Change everything beneath the source, made if that was asked for. Raises StoreError, SandboxError."""
    if volume.make:
        make_folders((volume.source,))
    if volume.chown:
        process = loads(row.config_json)["config"]["process"]
        user = resolve(root().fd, process["user"].get("username", ""), process["user"].get("groups", ()))
        try:
            owners.give(volume.source, user.uid, user.gid)
        except OSError as error:
            raise SandboxError(
                f"cannot change the owners in {volume.source} to {user.uid}:{user.gid}: {error.strerror}"
            ) from None
    if volume.relabel and selinux.is_enabled():
        with os_errors(f"label {volume.source}"):
            selinux.label(volume.source, selinux.CONTAINER_FILE)


def ignored(volumes: Iterable[VolumeMount]) -> str:
    """One line where labels are asked for and there are none; "" otherwise."""
    words = {volume.relabel for volume in volumes} - {""}
    if not words or selinux.is_enabled():
        return ""
    return f"WARNING: :{min(words)} of volumes ignored: SELinux is not enabled"
