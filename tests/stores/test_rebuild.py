"""A store that has lost its database is never taken for a new one, and gets it back from its files."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from storekit import Process, file, folder, is_whole, layer, make_image

from nacre.stores import Store
from nacre.stores.blobs import BlobStore
from nacre.stores.containers import ContainerRow
from nacre.stores.layout import listed
from nacre.stores.rebuild import Rebuilt, database_faults, rebuild, refuse_damaged
from nacre.stores.sweep import sweep
from nacre.words.digest import Digest
from nacre.words.errors import DamagedStore, NacreError, NotFound, StoreError

ID = "0123456789abcdef" * 4
NAMES = ("docker.io/library/a:1", "docker.io/library/a:2", "localhost:5000/b:1")
LAYERS = (layer(folder("", mode=0o1777), file("f", b"content" * 500)), layer(file("d/g", b"more" * 2000)))


@pytest.fixture
def full(root: str) -> str:
    """A store with three names for two images, one image without a name, and a container."""
    with Store.open(root, layer_blobs="keep") as store:
        image = make_image(store, *LAYERS, name=NAMES[0])
        store.refs.set(NAMES[1], image)
        make_image(store, LAYERS[0], name=NAMES[2], salt="b")
        store.refs.remember(make_image(store, salt="dangling"))
        row = ContainerRow(ID, "box", image.digest, "a:1", 1.0, command="sh", config_json='{"process":{}}')
        store.containers.begin(row).release()
        store.actives.prepare(ID, [Digest.of(data) for data in LAYERS])
        store.containers.describe(row)
        Path(store.root, "volumes/data").mkdir(parents=True)
    return root


def files_of(root: str) -> list[str]:
    return [
        f"{root}/nacre.db{end}" for end in ("", "-wal", "-shm") if os.path.exists(f"{root}/nacre.db{end}")
    ]


def removed(root: str) -> None:
    for path in files_of(root):
        os.unlink(path)


def emptied(root: str) -> None:
    removed(root)
    Path(root, "nacre.db").touch()


def zeroed(root: str) -> None:
    size = os.path.getsize(f"{root}/nacre.db")
    removed(root)
    Path(root, "nacre.db").write_bytes(bytes(max(size, 4096)))


def cut_short(root: str) -> None:
    folded(root)
    os.truncate(f"{root}/nacre.db", os.path.getsize(f"{root}/nacre.db") // 2)


def cut_to_its_head(root: str) -> None:
    folded(root)
    os.truncate(f"{root}/nacre.db", 50)


def overwritten(root: str) -> None:
    size = os.path.getsize(f"{root}/nacre.db")
    removed(root)
    Path(root, "nacre.db").write_bytes(b"something else " * (size // 15 + 1))


def head_overwritten(root: str) -> None:
    folded(root)
    with open(f"{root}/nacre.db", "r+b") as file:
        file.write(b"x" * 200)


def of_another(root: str) -> None:
    """A database of something else."""
    removed(root)
    connection = sqlite3.connect(f"{root}/nacre.db")
    connection.executescript("CREATE TABLE songs (title TEXT);")
    connection.close()


def log_left(root: str) -> None:
    unfolded(root)
    os.unlink(f"{root}/nacre.db")


def log_left_beside_an_empty_file(root: str) -> None:
    unfolded(root)
    os.truncate(f"{root}/nacre.db", 0)


def folded(root: str) -> None:
    """All of the database is in its file."""
    connection = sqlite3.connect(f"{root}/nacre.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for end in ("-wal", "-shm"):
        Path(f"{root}/nacre.db{end}").unlink(missing_ok=True)


def unfolded(root: str) -> None:
    """All of it is in the log, as of a store whose processes were killed."""
    folded(root)
    work = f"{root}/work.db"
    shutil.copyfile(f"{root}/nacre.db", work)
    connection = sqlite3.connect(work)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("VACUUM")
    for end in ("", "-wal"):
        shutil.copyfile(work + end, f"{root}/nacre.db{end}")
    connection.close()
    os.unlink(work)
    assert os.path.getsize(f"{root}/nacre.db-wal") > 4096


LOSSES: tuple[Callable[[str], None], ...] = (
    removed, emptied, zeroed, cut_short, cut_to_its_head, overwritten, head_overwritten, of_another, log_left,
    log_left_beside_an_empty_file,
)  # fmt: skip


@pytest.fixture(params=LOSSES, ids=lambda loss: loss.__name__)
def lost(request: pytest.FixtureRequest, full: str) -> str:
    request.param(full)
    return full


def contents(root: str) -> dict[str, bytes]:
    """What the database cannot be without, and what is left of it."""
    paths = [path for path in Path(root).rglob("*") if path.is_file() and not path.is_symlink()]
    kept = [path for path in paths if path.name not in ("nacre.db-shm", "nacre.db.lock", "index.lock")]
    return {str(path): path.read_bytes() for path in kept}


@pytest.mark.parametrize("create", [True, False])
def test_it_is_never_opened_as_a_new_one(lost: str, create: bool) -> None:
    before = contents(lost)
    for _ in range(2):
        with pytest.raises(
            DamagedStore, match=r"nacre\.db|its database is gone|its database is empty"
        ) as caught:
            Store.open(lost, create=create).refs.list()
        assert "`nacre system check --repair`" in caught.value.hint
    after = contents(lost)
    assert {path: after.get(path) for path in before if "nacre.db" not in path} == {
        path: data for path, data in before.items() if "nacre.db" not in path
    }
    assert set(listed(lost)) == set(NAMES)


def test_it_comes_back_from_its_files(lost: str) -> None:
    made = rebuild(lost)
    assert made.problem
    assert (made.names, made.images, made.trees, made.containers) == (3, 3, 2, 1)
    with Store.open(lost) as store:
        assert [ref.name for ref in store.refs.list()] == list(NAMES)
        for ref in store.refs.list():
            assert is_whole(store, ref.descriptor)
        with store.trees.open([Digest.of(data) for data in LAYERS]) as view:
            assert view.names(b"") == [b"d", b"f"]
        row = store.containers.get("box")
        assert (row.id, row.state, row.config_json) == (ID, "created", '{"process":{}}')
        active = store.actives.find(ID)
        assert active is not None
        assert active.layers == tuple(Digest.of(data) for data in LAYERS)
    assert set(listed(lost)) == set(NAMES)
    assert rebuild(lost) == Rebuilt("")


def test_a_sweep_after_it_frees_nothing_that_is_needed(lost: str) -> None:
    rebuild(lost)
    with Store.open(lost) as store:
        sweep(store)
        for ref in store.refs.list():
            assert is_whole(store, ref.descriptor)
        assert [row.name for row in store.containers.list()] == ["box"]
        assert store.actives.find(ID) is not None
    assert os.path.isdir(f"{lost}/volumes/data")


def test_what_was_left_of_the_old_one_is_kept(full: str) -> None:
    overwritten(full)
    old = Path(full, "nacre.db").read_bytes()
    assert rebuild(full).kept == "nacre.db.damaged-1"
    assert Path(full, "nacre.db.damaged-1").read_bytes() == old
    overwritten(full)
    assert rebuild(full).kept == "nacre.db.damaged-2"
    removed(full)
    assert rebuild(full).kept == ""


def rows(root: str) -> dict[str, list[tuple[object, ...]]]:
    with Store.open(root) as store:
        tables = ("layer", "source", "ref", "image", "container", "active")
        found = {table: [row[:2] for row in store.db.execute(f"SELECT * FROM {table}")] for table in tables}
        return found | {"tree": store.db.execute("SELECT diff_id, size, root FROM tree ORDER BY diff_id")}


def test_each_row_that_can_be_read_is_kept(full: str) -> None:
    """Other bytes in one page after the other: what the files say is always there, the rest mostly."""
    with Store.open(full) as store:
        for number in range(200):
            store.layers.add_source(Digest.of(LAYERS[0]), f"localhost:5000/repository-{number:03}")
    folded(full)
    whole, original = rows(full), Path(full, "nacre.db").read_bytes()
    folded(full)
    for at in range(0, len(original), 4096):
        Path(full, "nacre.db").write_bytes(original[:at] + os.urandom(4096) + original[at + 4096 :])
        try:
            with Store.open(full) as store:
                store.db.check()
        except DamagedStore:
            assert rebuild(full).problem
        found = rows(full)
        for table in ("layer", "ref", "image", "container", "active", "tree"):
            assert found[table] == whole[table], (at, table)
        assert set(found["source"]) <= set(whole["source"])
        removed(full)


WRONG = {
    ("container", "config_json"): "[1]", ("container", "created"): "x", ("ref", "descriptor"): "{",
    ("image", "descriptor"): '{"a":1}', ("layer", "diff_id"): "sha256:x", ("tree", "root"): "755 0",
    ("blob", "size"): "many", ("active", "layers"): "none",
}  # fmt: skip


@pytest.mark.parametrize(("table", "column"), WRONG)
def test_a_value_that_cannot_be_one_is_found_and_made_again(full: str, table: str, column: str) -> None:
    whole = rows(full)
    with Store.open(full) as store:
        assert database_faults(store) == []
        store.db.change(f"UPDATE {table} SET {column} = ?", (WRONG[table, column],))
        (fault,) = database_faults(store)
        assert f"the row of {table} " in fault
        with pytest.raises(DamagedStore, match="the row of"):
            refuse_damaged(store)
    assert "the row of" in rebuild(full).problem
    found = rows(full)
    assert {name: set(found[name]) for name in found} == {name: set(whole[name]) for name in whole}


def test_the_log_alone_says_everything(full: str) -> None:
    with Store.open(full) as store:
        store.layers.add_source(Digest.of(LAYERS[0]), "localhost:5000/b")
    whole = rows(full)
    log_left(full)
    rebuild(full)
    assert rows(full) == whole


@pytest.mark.parametrize("driver", ["overlay", "plain"])
def test_trees_of_other_drivers(root: str, driver: str) -> None:
    with Store.open(root, driver=driver, layer_blobs="drop") as store:
        make_image(store, *LAYERS, layer(folder("d", mode=0o700)), name=NAMES[0])
    whole = rows(root)["tree"]
    removed(root)
    rebuild(root)
    assert rows(root)["tree"] == whole
    with Store.open(root, driver=driver) as store:
        assert all(store.trees.repair.prove(Digest(diff_id)) == "" for diff_id, _, _ in whole)


def test_names_of_what_is_gone_stay(full: str) -> None:
    """So that it can be fetched again by its digest."""
    with Store.open(full) as store:
        digest = store.refs.list()[0].descriptor.digest
    os.unlink(f"{full}/blobs/sha256/{digest.hex}")
    removed(full)
    rebuild(full)
    assert set(listed(full)) == set(NAMES)


def test_images_without_an_index(full: str) -> None:
    removed(full)
    Path(full, "index.json").write_bytes(b"\0" * 100)
    assert rebuild(full).names == 0
    assert Path(full, "index.json.damaged").read_bytes() == b"\0" * 100
    with Store.open(full) as store:
        assert len(store.refs.images()) == 3
        assert all(is_whole(store, descriptor) for descriptor in store.refs.images())


def test_content_that_is_damaged_is_not_believed(full: str) -> None:
    blob = Path(full, "blobs/sha256", Digest.of(LAYERS[0]).hex)
    os.chmod(blob, 0o600)
    blob.write_bytes(b"damage")
    removed(full)
    rebuild(full)
    with Store.open(full) as store:
        assert not store.blobs.has(Digest.of(LAYERS[0]))


@pytest.mark.parametrize("state", ["running", "exited", "throw-away", "torn"])
def test_how_a_container_is_found(full: str, state: str) -> None:
    lock = Path(full, "containers", ID, "lock")
    lock.write_text("7" if state == "exited" else "")
    if state == "throw-away":
        record = lock.with_name("record")
        record.write_text(record.read_text().replace('"auto_remove":false', '"auto_remove":true'))
    if state == "torn":
        lock.with_name("record").write_text('[{"id":')
    removed(full)
    from nacre.ground.files import Lock

    held = Lock(str(lock)) if state == "running" else None
    made = rebuild(full)
    if held:
        held.release()
    with Store.open(full) as store:
        found = [(row.state, row.exit_code) for row in store.containers.list()]
    assert found == {"running": [("running", 0)], "exited": [("exited", 7)]}.get(state, [])
    assert made.containers == len(found)


def test_who_works_keeps_what_it_uses(full: str) -> None:
    from nacre.ground.files import Lock

    removed(full)
    with Lock(f"{full}/leases/somebody"):
        rebuild(full)
        with Store.open(full) as store:
            assert [id for id, _ in store.leases.living()] == ["somebody"]
            store.refs.forget(store.refs.list()[0].descriptor.digest)
            assert [kind for kind, _, _ in sweep(store).items] == []


@pytest.mark.parametrize("point", ["rebuild:kept", "database:ending", "rebuild:made"])
def test_a_kill_on_the_way(full: str, point: str) -> None:
    def killed() -> None:
        from nacre.ground.files import install_trace

        install_trace(lambda name: os._exit(9) if name == point else None)
        rebuild(full)

    overwritten(full)
    assert Process(killed).wait() == 9
    with pytest.raises(DamagedStore):
        Store.open(full)
    rebuild(full)
    with Store.open(full) as store:
        assert [ref.name for ref in store.refs.list()] == list(NAMES)
    assert not [name for name in os.listdir(full) if name.startswith(("nacre.db.new", "nacre.db.old"))]


def test_many_rebuild_the_same_store(full: str) -> None:
    removed(full)
    processes = [Process(rebuild, full) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    with Store.open(full) as store:
        assert [ref.name for ref in store.refs.list()] == list(NAMES)


def test_a_log_that_is_lost_with_all_that_was_in_it(root: str) -> None:
    """The file alone is a database without tables then."""
    Store.open(root).close()
    removed(root)
    connection = sqlite3.connect(f"{root}/nacre.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    with Store.open(root) as store:  # there is nothing that could be lost
        make_image(store, LAYERS[0], name=NAMES[0])
    of_another(root)
    with pytest.raises(DamagedStore, match="its database is empty"):
        Store.open(root)


def test_the_layout_of_another_tool_is_left_alone(root: str) -> None:
    blobs = Path(root, "blobs/sha256")
    blobs.mkdir(parents=True)
    (blobs / ("a" * 64)).touch()
    Path(root, "oci-layout").write_text("{}")
    Path(root, "index.json").write_text('{"manifests":[]}')
    with pytest.raises(StoreError, match="is an OCI image layout, not a store"):
        Store.open(root)
    assert Path(root, "index.json").read_text() == '{"manifests":[]}'


def test_a_registry(root: str) -> None:
    blobs = BlobStore.at(root)
    digest = blobs.add(b"content")
    blobs.close()
    removed(root)
    with pytest.raises(DamagedStore):
        BlobStore.at(root)
    rebuild(root)
    blobs = BlobStore.at(root)
    assert blobs.has(digest)
    blobs.close()


def test_an_index_that_is_there_is_not_overwritten_by_a_second_maker(root: str) -> None:
    Store.open(root).close()
    removed(root)
    Path(root, "index.json").write_text('{"manifests":[],"mine":1}')
    Store.open(root).close()
    assert "mine" in Path(root, "index.json").read_text()


def test_without_create_nothing_is_made(root: str) -> None:
    os.mkdir(root)
    with pytest.raises(NotFound):
        Store.open(root, create=False)
    assert os.listdir(root) == []
    assert issubclass(DamagedStore, NacreError)


@pytest.fixture
def behind(full: str) -> str:
    """A store whose database has lost the latest changes with its log."""
    folded(full)
    before = Path(full, "nacre.db").read_bytes()
    with Store.open(full, layer_blobs="keep") as store:
        make_image(store, layer(file("late", b"late" * 1000)), name="docker.io/library/late:1", salt="late")
        store.layers.add_source(Digest.of(LAYERS[0]), "localhost:5000/known")
    removed(full)
    Path(full, "nacre.db").write_bytes(before)
    return full


def test_a_database_that_is_behind_keeps_the_names_that_it_lost(behind: str) -> None:
    with Store.open(behind) as store:
        store.refs.set("docker.io/library/new:1", store.refs.list()[0].descriptor)
        store.refs.delete(NAMES[0])
        with pytest.raises(DamagedStore, match=r"does not know docker\.io/library/late:1"):
            sweep(store)
    assert set(listed(behind)) == {*NAMES[1:], "docker.io/library/new:1", "docker.io/library/late:1"}
    made = rebuild(behind)
    assert (
        made.problem == "it is out of date: it does not know docker.io/library/late:1, which index.json has"
    )
    with Store.open(behind) as store:
        late = store.refs.get("docker.io/library/late:1")
        assert late is not None
        assert is_whole(store, late)
        assert store.refs.get(NAMES[0]) is None
    assert rebuild(behind) == Rebuilt("")


def test_a_name_that_was_removed_stays_away(full: str) -> None:
    """Also when its removal was killed before the index was written."""
    with Store.open(full) as store:
        store.refs.delete(NAMES[2])
        store.refs.changed = False
    assert NAMES[2] in listed(full)
    assert rebuild(full) == Rebuilt("")
    with Store.open(full) as store:
        sweep(store, images="dangling")
    assert rebuild(full) == Rebuilt("")
    with Store.open(full) as store:
        store.refs.delete(NAMES[1])
    assert set(listed(full)) == {NAMES[0]}
