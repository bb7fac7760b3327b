from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from storekit import Process, file, is_whole, layer, leftovers, make_image
from treekit import drop_tree

from nacre.stores import Store
from nacre.stores.containers import ContainerRow
from nacre.stores.database import VERSION, Database
from nacre.stores.steps import StepRecord
from nacre.words.digest import Digest
from nacre.words.errors import Conflict, NotFound, StoreError
from nacre.words.oci import OCI_LAYER, OCI_MANIFEST, Descriptor
from nacre.words.quickjson import loads

ID = "0123456789abcdef" * 4


def descriptor(store: Store, text: str = "{}") -> Descriptor:
    store.blobs.add(text.encode())
    return Descriptor.of(text.encode(), OCI_MANIFEST)


# ---- the folder


def test_open_makes_a_private_folder(root: str) -> None:
    old = os.umask(0)
    try:
        with Store.open(root):
            for folder, _, names in os.walk(root):
                assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
                for name in names:
                    assert stat.S_IMODE(os.stat(f"{folder}/{name}").st_mode) == 0o600
    finally:
        os.umask(old)


def test_open_without_create(root: str) -> None:
    with pytest.raises(NotFound, match="no store at"):
        Store.open(root, create=False)
    assert not os.path.exists(root)
    Path(root).mkdir()
    with pytest.raises(NotFound):
        Store.open(root, create=False)


def test_open_refuses_a_folder_of_something_else(root: str) -> None:
    Path(root).mkdir()
    Path(root, "thesis.txt").write_text("")
    with pytest.raises(StoreError, match="neither empty nor a store"):
        Store.open(root)
    assert os.listdir(root) == ["thesis.txt"]


def test_open_takes_an_empty_folder_and_closes_it_to_others(root: str) -> None:
    Path(root).mkdir(mode=0o755)
    Store.open(root).close()
    assert stat.S_IMODE(os.stat(root).st_mode) == 0o700


def test_open_finishes_what_a_kill_interrupted(root: str) -> None:
    Store.open(root).close()
    for name in ("nacre.db", "nacre.db-wal", "nacre.db-shm"):
        Path(root, name).unlink(missing_ok=True)
    with Store.open(root) as store:
        store.refs.set("a", descriptor(store))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_open_refuses_the_store_of_another(root: str) -> None:
    Store.open(root).close()
    os.chown(root, 1234, 1234)
    with pytest.raises(StoreError, match="belongs to user id 1234"):
        Store.open(root)


def test_newer_format(root: str) -> None:
    Store.open(root).close()
    connection = sqlite3.connect(f"{root}/nacre.db")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="has format 99") as caught:
        Store.open(root)
    assert "newer nacre" in caught.value.hint


A, B = (f"sha256:{digit * 64}" for digit in "ab")
OLD_LAYER = f"""DROP TABLE layer; CREATE TABLE layer (
    digest TEXT PRIMARY KEY, diff_id TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    added REAL NOT NULL) WITHOUT ROWID; CREATE INDEX layer_diff_id ON layer (diff_id);
    INSERT INTO layer VALUES ('{A}', '{B}', 'x', 3, 4.0); PRAGMA user_version=1;"""


def test_an_older_format_is_brought_up_to_date(root: str) -> None:
    Store.open(root).close()
    connection = sqlite3.connect(f"{root}/nacre.db")
    connection.executescript(OLD_LAYER)
    connection.close()
    processes = [Process(lambda: Store.open(root).close()) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    with Store.open(root) as store:
        assert store.layers.recipe(Digest(A)) == (B, "")
        assert store.db.one("PRAGMA user_version") == (VERSION,)
        digest = store.blobs.add(b"x")
        store.layers.record(digest, digest, "x", 1, "none")
        store.layers.record(digest, digest, "y", 1)
        assert store.layers.recipe(digest) == (digest, "none")
    connection = sqlite3.connect(f"{root}/nacre.db")
    made = {row[1] for row in connection.execute("PRAGMA table_info(layer)")}
    connection.close()
    Database(f"{root}.fresh").close()
    fresh = sqlite3.connect(f"{root}.fresh")
    assert {row[1] for row in fresh.execute("PRAGMA table_info(layer)")} == made
    fresh.close()


def test_a_damaged_database(root: str) -> None:
    Store.open(root).close()
    for name in ("nacre.db-wal", "nacre.db-shm"):
        Path(root, name).unlink(missing_ok=True)
    Path(root, "nacre.db").write_bytes(b"no database at all, " * 500)
    with pytest.raises(StoreError, match="is damaged"):
        Store.open(root)


def test_many_make_the_same_store(root: str) -> None:
    processes = [Process(lambda: Store.open(root).close()) for _ in range(6)]
    assert [process.wait() for process in processes] == [0] * 6


def test_a_fork_gets_a_connection_of_its_own(store: Store) -> None:
    store.refs.set("before", descriptor(store))
    assert Process(lambda: store.refs.set("child", descriptor(store))).wait() == 0
    store.refs.set("after", descriptor(store))
    assert [ref.name for ref in store.refs.list()] == ["after", "before", "child"]


def test_a_fork_after_a_rest(store: Store) -> None:
    """Nothing of SQLite's goes over, and both go on."""
    store.refs.set("before", descriptor(store))
    store.rest()
    store.rest()
    assert not any(name.startswith(f"{store.root}/nacre.db") for name in opened_files())
    child = Process(lambda: store.refs.set("child", descriptor(store)))
    store.refs.set("after", descriptor(store))
    assert child.wait() == 0
    assert [ref.name for ref in store.refs.list()] == ["after", "before", "child"]


def opened_files() -> list[str]:
    return [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_link(fd)]


def _is_link(fd: str) -> bool:
    """The descriptor of the listing itself is gone."""
    return os.path.islink(f"/proc/self/fd/{fd}")


def test_it_is_an_oci_layout(root: str) -> None:
    with Store.open(root) as store:
        image = make_image(store, layer(file("f")), name="docker.io/library/a:1")
        gone = make_image(store, name="docker.io/library/b:1", salt="b")
        store.refs.delete("docker.io/library/b:1")
    assert loads(Path(root, "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = loads(Path(root, "index.json").read_text())
    assert gone.digest not in str(index)
    (entry,) = index["manifests"]
    assert entry["digest"] == image.digest
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "docker.io/library/a:1"
    assert Path(root, "blobs/sha256", image.digest.hex).is_file()


# ---- names


def test_refs(store: Store) -> None:
    one, two = descriptor(store, "{}"), descriptor(store, "{ }")
    store.refs.set("b", one)
    store.refs.set("a", one)
    assert store.refs.get("a") == one
    assert store.refs.get("c") is None
    assert [ref.name for ref in store.refs.list()] == ["a", "b"] == store.refs.names_of(one.digest)
    store.refs.set("a", two)
    assert store.refs.names_of(one.digest) == ["b"]
    assert store.refs.delete("b")
    assert not store.refs.delete("b")
    assert set(store.refs.images()) == {one, two}
    assert store.refs.find(one.digest.hex[:8]) == [one]
    assert store.refs.find("") == sorted([one, two], key=lambda d: d.digest)
    assert store.refs.forget(two.digest)
    assert not store.refs.forget(two.digest)
    assert store.refs.list() == []
    assert store.refs.images() == [one]


def test_a_name_never_dangles(store: Store) -> None:
    lost = Descriptor.of(b"not stored", OCI_MANIFEST)
    for change in (lambda: store.refs.set("a", lost), lambda: store.refs.remember(lost)):
        with pytest.raises(NotFound, match="does not hold manifest"):
            change()
    assert store.refs.list() == []


def test_a_full_descriptor_comes_back(store: Store) -> None:
    from nacre.words.oci import Platform

    one = descriptor(store).replace(
        platform=Platform("linux", "arm64"), annotations=(("a", "b"),), artifact_type="x/y"
    )
    store.refs.set("a", one)
    assert store.refs.get("a") == one


# ---- layers, steps, containers


def test_layers(store: Store) -> None:
    digest, diff_id = Digest.of(b"gz"), Digest.of(b"tar")
    assert store.layers.diff_id(digest) is None
    for _ in range(2):
        store.layers.record(digest, diff_id, OCI_LAYER, 2)
        store.layers.add_source(digest, "localhost:5000/a")
    store.layers.add_source(digest, "localhost:5000/b")
    assert store.layers.diff_id(digest) == diff_id
    assert store.layers.blobs_of(diff_id) == [Descriptor(OCI_LAYER, digest, 2)]
    assert set(store.layers.sources(digest)) == {"localhost:5000/a", "localhost:5000/b"}
    store.layers.drop_source(digest, "localhost:5000/b")
    assert store.layers.sources(digest) == ["localhost:5000/a"]


def test_steps(store: Store) -> None:
    data = layer(file("f"))
    image = make_image(store, data)
    made = Descriptor.of(data, OCI_LAYER)
    first = StepRecord("k1", "", made, made.digest, "{}", '{"a":1}', 1.0)
    second = StepRecord("k2", "k1", None, None, "{}", created=2.0)
    for record in (first, second):
        store.steps.put(record)
        store.steps.touch(record.key)
        found = store.steps.get(record.key)
        assert found
        assert found.used > record.created
        assert found.replace(used=0.0) == record
    assert [each.key for each in store.steps.children("k1")] == ["k2"]
    assert is_whole(store, image)
    drop_tree(store, made.digest)
    assert store.steps.get("k1")
    store.blobs.delete(made.digest)
    assert store.steps.get("k1") is None
    assert store.steps.get("absent") is None
    assert store.steps.clear() == 2


def row(**fields: object) -> ContainerRow:
    return ContainerRow(ID, "happy", "sha256:x", "app", 1.0).replace(**fields)


def test_containers(store: Store) -> None:
    store.containers.insert(row(auto_remove=True))
    store.containers.insert(row(id="0" + ID[:0:-1], name="0123", created=2.0))
    for text in (ID, ID[:6], "happy", "/happy"):
        assert store.containers.get(text) == row(auto_remove=True)
    assert store.containers.get("0123").name == "0123"
    with pytest.raises(Conflict, match="several containers"):
        store.containers.get("0")
    with pytest.raises(NotFound, match="No such container: nobody"):
        store.containers.get("nobody")
    with pytest.raises(NotFound):
        store.containers.get("")
    store.containers.update(ID, state="running", pid=7)
    assert store.containers.list(all=False) == [row(auto_remove=True, state="running", pid=7)]
    assert [found.name for found in store.containers.list()] == ["0123", "happy"]
    assert len(store.containers.of_image("sha256:x")) == 2
    assert store.containers.delete(ID)
    assert not store.containers.delete(ID)


def test_container_names_are_taken_once(store: Store) -> None:
    store.containers.insert(row())
    store.containers.insert(row(id="f" * 64, name="other"))
    with pytest.raises(Conflict, match='"/happy" is already in use by container'):
        store.containers.insert(row(id="a" * 64))
    with pytest.raises(Conflict, match="already in use"):
        store.containers.insert(row(name="new"))
    with pytest.raises(Conflict, match="already in use"):
        store.containers.update("f" * 64, name="happy")
    with pytest.raises(NotFound):
        store.containers.update("b" * 64, state="running")
    with pytest.raises(TypeError):
        store.containers.update(ID, colour="red")
    assert len(store.containers.list()) == 2


def test_nothing_lies_about(root: str) -> None:
    with Store.open(root) as store:
        make_image(store, layer(file("f")), name="a")
    assert leftovers(root) == []
