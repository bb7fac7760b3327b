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
from ..words.errors import NacreError, NotFound, StoreError
from .database import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..words.digest import Digest
    from ..words.oci import Descriptor

_CONTENT = ("active", "containers", "ingest", "trash")
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

SHARED = "shared"
"""The folder of names that say which mounts are shared."""
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_REF_NAME = "org.opencontainers.image.ref.name"
_FULL_NAME = "io.containerd.image.name"


def mount_point(root: str, key: str) -> str:
    """Where the root of a container, by its id, or an image is mounted for the user, if it is."""
    return f"{root}/mounted/{key}"


def has_lazy(root: str) -> bool:
    """Whether a container may show a tree whose content is still coming: see `shared`."""
    return any(".lazy." in name for name in names(f"{root}/{SHARED}"))


def laid_out(root: str, key: str) -> str:
    """Where the root of a container, by its id, is a folder; it is none where roots are mounted."""
    return f"{root}/active/{key}/merged"


def open_root(root: str, *, create: bool) -> Database:
    """Check the folder, make what is missing, open its database. Raises NotFound, StoreError."""
    path = f"{root}/nacre.db"
    if not os.path.exists(root):
        if not create:
            raise NotFound(f"there is no store at {root}")
        private_dir(root)
    with os_errors(f"open the store {root}"):
        _check(root, os.stat(root), new=not os.path.exists(path))
    if create and not os.path.exists(path):
        _make(root)
    return Database(path, create=create, belongs=lambda: has_content(root))


def has_content(root: str) -> bool:
    """Whether there is something that only a database can have been about. Raises StoreError."""
    with os_errors(f"list {root}"):
        blobs = (names(f"{root}/blobs/{algorithm}") for algorithm in names(f"{root}/blobs"))
        return (
            any(blobs)
            or any(name[0] != "." for name in names(f"{root}/trees"))
            or any(names(f"{root}/{folder}") for folder in ("active", "containers"))
            or bool(listed(root))
        )


def content(root: str) -> list[str]:
    """Paths of what a sweep may remove: blobs, trees, actives, folders of containers, ingests, trash."""
    folders = [f"{root}/{name}" for name in _CONTENT]
    folders += [f"{root}/blobs/{name}" for name in names(f"{root}/blobs")] + [f"{root}/trees"]
    return [f"{folder}/{name}" for folder in folders for name in names(folder) if name[:1] != "."]


def listed(root: str) -> dict[str, Descriptor]:
    """What `index.json` says of names, as far as it can be read."""
    try:
        with open(f"{root}/index.json", "rb", buffering=0) as file:
            document = quickjson.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return {}
    entries = document.get("manifests") if isinstance(document, dict) else None
    found = (_unnamed(entry) for entry in (entries if isinstance(entries, list) else ()))
    return dict(pair for pair in found if pair is not None)


def _unnamed(entry: object) -> tuple[str, Descriptor] | None:
    """The name of an entry, and the descriptor that the name means."""
    from ..words.oci import Descriptor

    try:
        descriptor = Descriptor.from_json(entry)
    except NacreError:
        return None
    notes = dict(descriptor.annotations)
    name = notes.pop(_FULL_NAME, "") or notes.get(_REF_NAME, "")
    notes.pop(_REF_NAME, None)
    return (name, descriptor.replace(annotations=tuple(notes.items()))) if name else None


def names(folder: str) -> list[str]:
    """What is in a folder, sorted; nothing if it is none."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _check(root: str, found: os.stat_result, new: bool) -> None:
    if found.st_uid != os.geteuid():
        raise StoreError(
            f"the store {root} belongs to user id {found.st_uid}, not to {os.geteuid()}",
            hint="use another --root, or run as its owner",
        )
    if new and _foreign(root):
        raise StoreError(f"{root} is neither empty nor a store", hint="use an empty directory as --root")
    if new and not os.path.exists(f"{root}/trees") and has_content(root):
        raise StoreError(
            f"{root} is an OCI image layout, not a store", hint="use an empty directory as --root"
        )
    if found.st_mode & 0o077:
        os.chmod(root, 0o700)


def _foreign(root: str) -> bool:
    """Whether it holds what is not ours. Listed first: another process may be making the store."""
    from .paths import BESIDE

    names = [name for name in os.listdir(root) if not name.startswith(".oci-layout.")]
    return not {*names} <= {*BESIDE, "index.lock"} and not os.path.exists(f"{root}/oci-layout")


def _make(root: str) -> None:
    """`oci-layout` first: it marks the folder as ours should this be interrupted.

    Under the lock of those who tidy up: a sweep of somebody who was faster takes no half-written one away.
    """
    with os_errors(f"write {root}/oci-layout"), Lock(f"{root}/index.lock"):
        write_atomic(f"{root}/oci-layout", _LAYOUT)
    make_folders(root)
    with os_errors(f"write {root}/index.json"), Lock(f"{root}/index.lock"):
        if not os.path.exists(f"{root}/index.json"):
            _write_index(root, [])


def make_folders(root: str) -> None:
    """Those that are missing. Raises StoreError."""
    for name in FOLDERS:
        private_dir(f"{root}/{name}")


def publish_index(root: str, database: Database) -> None:
    """Write `index.json` anew from the names in the database.

    It is a view for other tools (`skopeo copy oci:ROOT:NAME …`); nacre reads it only to rebuild a lost
    database. A store that changed names writes it when it is closed, under a lock and from the newest
    state of the database, so the last writer is right; after a kill it is behind until the next change.
    Names that the database should know and does not (`unknown`) stay, until a repair takes them in.
    """
    with os_errors(f"write {root}/index.json"), Lock(f"{root}/index.lock"):
        sql = "SELECT name, descriptor FROM ref ORDER BY name"
        rows = [(name, quickjson.loads(text)) for name, text in database.execute(sql)]
        rows += [(name, descriptor.to_json()) for name, descriptor in unknown(root, database).items()]
        _write_index(root, [_named(name, document) for name, document in sorted(rows, key=_name_of)])


def _name_of(row: tuple[str, object]) -> str:
    return row[0]


def unknown(root: str, database: Database) -> dict[str, Descriptor]:
    """Names that `index.json` has and the database has not, though their manifest is here without a row.

    That is so when the database has lost its log. A name that was removed leaves no such manifest: its row
    goes with its file.
    """
    known = {row[0] for row in database.execute("SELECT name FROM ref")}
    return {
        name: descriptor for name, descriptor in listed(root).items()
        if name not in known and _is_lost(root, database, descriptor.digest)
    }  # fmt: skip


def _is_lost(root: str, database: Database, digest: Digest) -> bool:
    return os.path.exists(f"{root}/blobs/{digest.algorithm}/{digest.hex}") and not database.one(
        "SELECT 1 FROM blob WHERE digest = ?", (digest,)
    )


def _write_index(root: str, manifests: list[dict[str, object]]) -> None:
    from ..words.oci import OCI_INDEX

    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
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
