"""What must hold in a store whatever happened to those who worked on it. For `zygote`: plain values."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time

from nacre.ground.files import remove_tree
from nacre.stores import Store, syncing
from nacre.words.digest import Digest
from nacre.words.errors import NacreError, Unsupported
from nacre.words.oci import Descriptor, ImageConfig, Index, parse_document

PATIENCE = 60.0
"""Seconds."""


def copy(source: str, target: str) -> None:
    """A store as it stands, with owners, devices and attributes."""
    subprocess.run(["cp", "-a", source, target], check=True, capture_output=True)


def remove(path: str) -> None:
    remove_tree(path)


def complaints(root: str, names: list[str], others: bool) -> list[str]:
    """What is wrong: a name of `names` that is gone, an image that is not whole, a tree of other bytes.

    Without `others` images of other names may have lost content, but wrong bytes are wrong always.
    """
    with Store.open(root, create=False) as store:
        there = {ref.name.removeprefix("docker.io/library/"): ref.descriptor for ref in store.refs.list()}
        found = [f"the name {name} is gone" for name in names if name not in there]
        wanted = [there[name] for name in names if name in there]
        wanted += [*there.values(), *store.refs.images()] if others else []
        for descriptor in {d.digest: d for d in wanted}.values():
            found += _image(store, descriptor)
        for (diff_id,) in store.db.execute("SELECT diff_id FROM tree"):
            found += _tree(store, Digest(diff_id))
        for row in store.containers.list():
            found += _container(store, row.id)
            if row.state == "running":
                found += _standing(row.id, row.pid)
    return found


def _standing(number: str, pid: int) -> list[str]:
    """Whether a process of a container has been left stopped; a keeper needs a moment to let it go on."""
    end = time.monotonic() + PATIENCE
    while "T" in _states(pid):
        if time.monotonic() > end:
            return [f"processes of container {number} stand still"]
        time.sleep(0.005)
    return []


def _states(pid: int) -> set[str]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            pids = [str(pid), *file.read().split()]
        return {_state(name) for name in pids}
    except OSError:
        return set()


def _state(pid: str) -> str:
    with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
        return file.read().rpartition(")")[2].split()[0]


def _image(store: Store, descriptor: Descriptor) -> list[str]:
    """An image is whole when every blob is right and every layer is here as blob or as tree."""
    try:
        document = parse_document(store.blobs.read(descriptor.digest))
        if isinstance(document, Index):
            return []
        config = ImageConfig.parse(store.blobs.read(document.config.digest))
    except NacreError as error:
        return [f"{descriptor.digest}: {error}"]
    missing = set(store.trees.missing(config.diff_ids))
    return [
        f"layer {diff_id} of {descriptor.digest} is lost"
        for diff_id, layer in zip(config.diff_ids, document.layers, strict=True)
        if diff_id in missing and not _is_right(store, layer.digest)
    ]


def _is_right(store: Store, digest: Digest) -> bool:
    try:
        store.blobs.read(digest, 1 << 30)
    except NacreError:
        return False
    return True


def _tree(store: Store, diff_id: Digest) -> list[str]:
    """A tree that counts as here gives its tar, where its driver can, or at least its folders."""
    if store.trees.missing((diff_id,)):
        return []
    try:
        with store.trees.tar(diff_id) as file:
            digest = hashlib.sha256()
            while data := file.read(1 << 20):
                digest.update(data)
    except Unsupported:
        with store.trees.open([diff_id]) as view:
            view.lookup(b"")
        return []
    except (NacreError, OSError) as error:
        return [f"tree {diff_id}: {error}"]
    return [] if digest.hexdigest() == diff_id.hex else [f"tree {diff_id} has other bytes"]


def _container(store: Store, number: str) -> list[str]:
    try:
        store.actives.find(number)
    except NacreError as error:
        return [f"container {number}: {error}"]
    return []


def leftovers(root: str, containers: int) -> list[str]:
    """What is in no finished command's store, when it holds that many containers."""
    with Store.open(root, create=False) as store:
        own = {row.id for row in store.containers.list()}
        rows = {row[0] for row in store.db.execute("SELECT key FROM active")}
    found = [f"{kind}/{name}" for kind in ("active", "containers") for name in os.listdir(f"{root}/{kind}")]
    found = [path for path in found if os.path.basename(path) not in own]
    for kind in ("leases", "trash", "ingest"):
        found += [f"{kind}/{name}" for name in os.listdir(f"{root}/{kind}")]
    found += [f"row of active {key}" for key in rows - own]
    found += [name for name in os.listdir(root) if name.startswith(".")]
    return found if len(own) == containers else [*found, f"{len(own)} containers"]


def settle(root: str) -> None:
    """Time passes: everything is on the disk."""
    with Store.open(root, create=False) as store:
        syncing.mark_synced(root, store.db, age=-1.0)


def tear(root: str) -> int:
    """Do what a power cut may do to files that were not synced: empty, cut, zeroed, gone. How many."""
    with Store.open(root, create=False) as store:
        blobs = store.db.execute("SELECT digest FROM blob WHERE synced = 0")
        trees = store.db.execute("SELECT diff_id FROM tree WHERE synced = 0")
        paths = [store.blobs.path(Digest(digest)) for (digest,) in blobs]
        folders = [store.trees.rows.folder(Digest(diff_id)) for (diff_id,) in trees]
    folders += [f"{root}/build/contexts"]
    for folder in folders:
        paths += [f"{where}/{name}" for where, _, names in os.walk(folder) for name in names]
    files = [
        path for path in [*paths, f"{root}/index.json"] if os.path.isfile(path) and not os.path.islink(path)
    ]
    for number, path in enumerate(files):
        _damage(path, number % 4)
    return len(files)


def _damage(path: str, how: int) -> None:
    size = os.path.getsize(path)
    if how == 3:
        os.unlink(path)
        return
    os.chmod(path, 0o600)
    os.truncate(path, size // 2 if how == 1 else 0)
    if how == 2:
        os.truncate(path, size)


def remove_stores(folder: str) -> None:
    """Every store in a folder: some of their files belong to ids of the user namespace."""
    for name in os.listdir(folder):
        if os.path.isdir(f"{folder}/{name}/trees"):
            remove_tree(f"{folder}/{name}")
