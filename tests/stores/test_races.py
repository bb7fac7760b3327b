"""Several processes on one store; processes killed between two steps."""

from __future__ import annotations

import io
import os
import random
import signal
import sys
from pathlib import Path
from types import FrameType

import pytest
from storekit import Process, file, is_whole, layer, leftovers, make_image, until

from nacre.ground import files
from nacre.stores import Store
from nacre.stores.sweep import sweep
from nacre.stores.trees.making import Making
from nacre.words.digest import Digest
from nacre.words.errors import NotFound

DATA = os.urandom(300_000)
LAYER = layer(file("f", b"x" * 50_000), file("g", b"y"))


def test_two_want_the_same_blob(root: str, store: Store) -> None:
    """One fetches, the other waits and joins."""
    results, writer = os.pipe()
    with store.blobs.ingest(Digest.of(DATA), len(DATA)) as first:

        def want() -> None:
            with Store.open(root) as other, other.blobs.ingest(Digest.of(DATA), len(DATA)) as second:
                os.write(writer, b"joined" if second.exists else b"fetched")
                assert second.commit() == Digest.of(DATA)

        process = Process(want)
        until(lambda: _waits_for_a_lock(process.pid))
        first.write(DATA)
        first.commit()
    assert process.wait() == 0
    assert os.read(results, 10) == b"joined"
    for fd in (results, writer):
        os.close(fd)


def _waits_for_a_lock(pid: int) -> bool:
    with open("/proc/locks", encoding="ascii") as locks:
        return any("->" in line and str(pid) in line.split() for line in locks)


def test_a_waiter_resumes_what_a_killed_process_left(root: str, store: Store) -> None:
    ready, go = os.pipe()

    def die() -> None:
        ingest = Store.open(root).blobs.ingest(Digest.of(DATA), len(DATA))
        ingest.write(DATA[:100_000])
        os.write(go, b"x")
        until(lambda: False, 60)

    process = Process(die)
    os.read(ready, 1)
    process.kill()
    process.wait()
    with store.blobs.ingest(Digest.of(DATA), len(DATA)) as ingest:
        assert (ingest.resumed, ingest.offset) == (True, 100_000)
        ingest.write(DATA[100_000:])
        ingest.commit()
    assert store.blobs.read(Digest.of(DATA), len(DATA)) == DATA
    os.close(ready)
    os.close(go)


def test_two_make_the_same_tree(root: str) -> None:
    def make() -> None:
        with Store.open(root) as store:
            assert store.trees.ingest(io.BytesIO(LAYER), Digest.of(LAYER)) == Digest.of(LAYER)
            active = store.actives.prepare(f"k{os.getpid()}", [Digest.of(LAYER)])
            files.write_atomic(f"{active.upper}/new", b"same")
            os.utime(f"{active.upper}/new", (0, 0))
            store.actives.commit(active, io.BytesIO().write)

    processes = [Process(make) for _ in range(6)]
    assert [process.wait() for process in processes] == [0] * 6
    with Store.open(root, create=False) as store:
        assert len(os.listdir(f"{root}/trees")) == 3
        assert store.db.one("SELECT count(*) FROM tree") == (2,)
    assert leftovers(root) == []


def _life(root: str, number: int, rounds: int) -> None:
    """Make, name, move, read and remove images, beside others that do the same."""
    choice = random.Random(number)
    with Store.open(root) as store:
        for turn in range(rounds):
            own, common = f"own-{number}", f"common-{choice.randrange(3)}"
            with store.leases.hold():
                data = layer(file("shared", b"%d" % choice.randrange(4)), file(f"{number}", b"%d" % turn))
                image = make_image(store, data, layer(file("base", b"b")), name=own, salt=f"{number}.{turn}")
                store.refs.set(common, image)
                assert is_whole(store, image)
            if choice.random() < 0.4:
                store.refs.delete(common)
            if choice.random() < 0.5:
                sweep(store, images="dangling")
            kept = store.refs.get(own)
            assert kept == image
            assert is_whole(store, image)


@pytest.mark.parametrize(("count", "rounds"), [(2, 12), (8, 6)])
def test_many_at_once_lose_nothing(root: str, count: int, rounds: int) -> None:
    processes = [Process(_life, root, number, rounds) for number in range(count)]
    assert [process.wait() for process in processes] == [0] * count
    with Store.open(root, create=False) as store:
        names = {ref.name for ref in store.refs.list()}
        assert {f"own-{number}" for number in range(count)} <= names
        assert all(is_whole(store, ref.descriptor) for ref in store.refs.list())
        sweep(store, images="all")
        sweep(store, images="all")
        assert os.listdir(f"{root}/blobs/sha256") == []
        assert os.listdir(f"{root}/trees") == [".empty"]
    assert leftovers(root) == []


def test_a_waiting_writer_of_one_image_holds_up_nobody(root: str, store: Store) -> None:
    with store.blobs.ingest(Digest.of(DATA)):
        assert Process(_life, root, 1, 2).wait() == 0


# ---- kill -9 between the steps

POINTS = (
    "blob:written", "blob:renamed", "blob:published", "ingest:complete", "tree:extracted", "tree:renamed",
    "tree:published", "tree:packed", "tree:adopted", "sweep:marked", "sweep:collected",
    "write_atomic:written",
)  # fmt: skip


def _work(root: str) -> None:
    with Store.open(root) as store:
        keep = make_image(store, layer(file("kept", b"k")), name="kept")
        with store.leases.hold():
            with store.blobs.ingest() as ingest:
                ingest.write(DATA)
                ingest.commit()
            image = make_image(store, LAYER, name="new")
            active = store.actives.prepare(f"build{os.getpid()}", [Digest.of(LAYER)])
            files.write_atomic(f"{active.upper}/new", b"made")
            store.actives.commit(active, io.BytesIO().write)
            store.refs.forget(image.digest)
        sweep(store)
        assert is_whole(store, keep)


def _die_at(root: str, point: str, occurrence: int) -> None:
    seen = 0

    def hook(name: str) -> None:
        nonlocal seen
        seen += name == point
        if name == point and seen == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

    files.install_trace(hook)
    _work(root)


@pytest.mark.parametrize("occurrence", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_kill_at(root: str, point: str, occurrence: int) -> None:
    with Store.open(root) as store:
        before = make_image(store, layer(file("before", b"b")), name="before")
    code = Process(_die_at, root, point, occurrence).wait()
    assert code == -signal.SIGKILL or (occurrence == 2 and code == 0)
    with Store.open(root, create=False) as store:
        assert is_whole(store, before)
        assert all(is_whole(store, ref.descriptor) for ref in store.refs.list())
        _verify_blobs(store)
    assert Process(_work, root).wait() == 0
    with Store.open(root, create=False) as store:
        assert is_whole(store, before)
        sweep(store, images="all", max_age=-1.0)
        assert os.listdir(f"{root}/blobs/sha256") == []
        assert os.listdir(f"{root}/trees") == [".empty"]
        assert not any(
            store.db.execute(f"SELECT 1 FROM {name}") for name in ("blob", "tree", "active", "lease")
        )
    assert leftovers(root) == []


def _verify_blobs(store: Store) -> None:
    for name in os.listdir(f"{store.root}/blobs/sha256"):
        digest = Digest(f"sha256:{name}")
        assert Digest.of(store.blobs.read(digest, 1 << 30)) == digest


def _die_after(root: str, points: int) -> None:
    left = points

    def hook(_name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    files.install_trace(hook)
    _life(root, points, 1000)


@pytest.mark.parametrize("points", [3, 8, 15, 21, 34, 55, 89, 144, 200, 233])
def test_kill_of_one_among_many(root: str, points: int) -> None:
    with Store.open(root) as store:
        before = make_image(store, layer(file("before", b"b")), name="before")
    other = Process(_life, root, 7, 6)
    process = Process(_die_after, root, points)
    assert (process.wait(), other.wait()) == (-signal.SIGKILL, 0)
    with Store.open(root, create=False) as store:
        assert is_whole(store, before)
        assert all(is_whole(store, ref.descriptor) for ref in store.refs.list())
        _verify_blobs(store)
        sweep(store, images="all", max_age=-1.0)
        with pytest.raises(NotFound):
            store.blobs.read(before.digest)
    assert leftovers(root) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_disk_that_is_really_full(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A 2 MiB tmpfs in a mount namespace of its own."""
    top = tmp_path_factory.mktemp("small")

    def work() -> None:
        from nacre.ground import linux
        from nacre.words.errors import StoreError

        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("small", str(top), "tmpfs", 0, "size=2m")
        root = f"{top}/store"
        with Store.open(root) as store:
            small = make_image(store, layer(file("f", b"x")), name="small")
            big = layer(file("big", os.urandom(5_000_000)))
            for fill in (
                lambda: store.blobs.add(big),
                lambda: store.trees.ingest(io.BytesIO(big)),
                lambda: _ingest(store, big),
            ):
                with pytest.raises(StoreError, match="no space left on device"):
                    fill()
            assert is_whole(store, small)
            make_image(store, layer(file("g", b"x")), name="after")
        assert leftovers(root) == []

    assert Process(work).wait() == 0


def _ingest(store: Store, data: bytes) -> None:
    with store.blobs.ingest(Digest.of(data)) as ingest:
        ingest.write(data)
        ingest.commit()


def test_a_sweep_beside_somebody_who_makes_the_same_store(root: str) -> None:
    """Two first commands in one empty folder: the faster one sweeps while the other writes `oci-layout`."""
    swept: list[Process] = []

    def hook(name: str) -> None:
        if name == "write_atomic:written" and not swept:
            swept.append(Process(_sweep_new, root))
            until(lambda: _waits_for_a_lock(swept[0].pid))

    files.install_trace(hook)
    try:
        with Store.open(root) as store:
            assert store.refs.list() == []
    finally:
        files.install_trace(None)
    assert swept[0].wait() == 0
    assert leftovers(root) == []


def _sweep_new(root: str) -> None:
    files.install_trace(None)
    with Store.open(root) as store:
        sweep(store)


@pytest.mark.parametrize("place", ["remove_tree", "release", "unlink"])
def test_a_signal_at_the_end_of_making_leaves_no_lock(tmp_path: Path, place: str) -> None:
    """It breaks into what cleans up, wherever that is; what broke in is raised."""
    (tmp_path / "ingest").mkdir()
    told: list[str] = []

    def interrupt(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_name == place and not told:
            told.append(place)
            raise KeyboardInterrupt

    making = Making(str(tmp_path), "x")
    with pytest.raises(KeyboardInterrupt), making:
        sys.setprofile(interrupt)
    sys.setprofile(None)
    assert told
    assert os.listdir(tmp_path / "ingest") == []
