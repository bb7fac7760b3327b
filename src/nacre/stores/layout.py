"""The folder of a store: made, checked, and kept a valid OCI image layout.

    ROOT/                0700, owned by its user
      oci-layout         {"imageLayoutVersion":"1.0.0"}
      index.json         derived from the names in the database; see `publish_index`
      nacre.db           + -wal, -shm, .lock
      blobs/sha256/      content
      ingest/            being written
      trees/  active/  containers/  leases/  trash/

Source: OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import os

from ..ground.files import Lock, os_errors, private_dir, unlink, write_atomic
from ..words import quickjson
from ..words.errors import NotFound, StoreError
from .database import Database

FOLDERS = (
    "blobs",
    "blobs/sha256",
    "ingest",
    "trees",
    "trees/.empty",
    "active",
    "containers",
    "leases",
    "trash",
)

_BESIDE = ("uploads", "mirrors", "manifests", "seen")
"""Folders of commands that need no store; they may be there before it."""

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_REF_NAME = "org.opencontainers.image.ref.name"
_FULL_NAME = "io.containerd.image.name"


def open_root(root: str, *, create: bool) -> Database:
    """Check the folder, make what is missing, open its database. Raises NotFound, StoreError."""
    path = f"{root}/nacre.db"
    if not os.path.exists(root):
        if not create:
            raise NotFound(f"there is no store at {root}")
        private_dir(root)
    with os_errors(f"open the store {root}"):
        _check(root, os.stat(root), new=not os.path.exists(path))
    if not os.path.exists(path):
        if not create:
            raise NotFound(f"there is no store at {root}")
        _make(root)
    return Database(path, create=create)


def _check(root: str, found: os.stat_result, new: bool) -> None:
    if found.st_uid != os.geteuid():
        raise StoreError(
            f"the store {root} belongs to user id {found.st_uid}, not to {os.geteuid()}",
            hint="use another --root, or run as its owner",
        )
    if new and _foreign(root):
        raise StoreError(f"{root} is neither empty nor a store", hint="give an empty folder as --root")
    if found.st_mode & 0o077:
        os.chmod(root, 0o700)


def _foreign(root: str) -> bool:
    """Whether it holds what is not ours. Listed first: another process may be making the store."""
    names = [name for name in os.listdir(root) if not name.startswith(".oci-layout.")]
    return not set(names) <= set(_BESIDE) and not os.path.exists(f"{root}/oci-layout")


def _make(root: str) -> None:
    """`oci-layout` first: it marks the folder as ours should this be interrupted."""
    write_atomic(f"{root}/oci-layout", _LAYOUT)
    for name in FOLDERS:
        private_dir(f"{root}/{name}")
    publish_index(root, None)


def publish_index(root: str, database: Database | None) -> None:
    """Write `index.json` anew from the names in the database.

    It is a view for other tools (`skopeo copy oci:ROOT:NAME …`), never read by nacre. A store that
    changed names writes it when it is closed, under a lock and from the database's newest state, so
    that the last writer is right; after a kill it is behind until the next change.
    """
    with os_errors(f"write {root}/index.json"), Lock(f"{root}/index.lock"):
        sql = "SELECT name, descriptor FROM ref ORDER BY name"
        rows = database.execute(sql) if database else []
        manifests = [_named(name, quickjson.loads(text)) for name, text in rows]
        media_type = "application/vnd.oci.image.index.v1+json"
        document = {"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}
        write_atomic(f"{root}/index.json", quickjson.dumps(document).encode())


def tidy_index(root: str) -> None:
    """Remove what a kill left of writing `index.json`. Raises StoreError."""
    with os_errors(f"tidy {root}"), Lock(f"{root}/index.lock"):
        for name in os.listdir(root):
            if name.startswith((".index.json.", ".oci-layout.")):
                unlink(f"{root}/{name}")


def _named(name: str, descriptor: dict[str, object]) -> dict[str, object]:
    notes = descriptor.get("annotations")
    own = dict(notes) if isinstance(notes, dict) else {}
    return descriptor | {"annotations": own | {_REF_NAME: name, _FULL_NAME: name}}
