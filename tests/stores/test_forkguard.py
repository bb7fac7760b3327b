"""No connection crosses a fork; a child opens its own, and the end of its parent takes nothing from it."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from storekit import Process, file, layer, make_image, until

from nacre.stores import Store, forkguard
from nacre.stores.database import Database
from nacre.stores.forkguard import resting
from nacre.words.errors import StoreError

NAME = "SELECT value FROM meta WHERE key = 'name'"
SET = "INSERT OR REPLACE INTO meta VALUES ('name', ?)"


def forked(work: object) -> int:
    """The exit code of a plain fork: nothing is put to rest for it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = int(work() or 0)  # type: ignore[operator]
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def is_open(path: str) -> bool:
    """Whether this process has a descriptor of the file."""
    return any(os.path.realpath(fd) == os.path.realpath(path) for fd in Path("/proc/self/fd").iterdir())


def is_refused(work: object) -> int:
    with pytest.raises(StoreError, match="was opened before a fork"):
        work()  # type: ignore[operator]
    return 0


def test_a_carried_connection_is_refused(store: Store) -> None:
    assert forked(lambda: is_refused(store.refs.list)) == 0
    assert forked(lambda: is_refused(lambda: store.db.transaction().__enter__())) == 0
    assert store.refs.list() == []


def test_another_beside_a_carried_one_is_refused(root: str, store: Store) -> None:
    """SQLite would take the locks of the parent's for its own."""
    assert forked(lambda: is_refused(lambda: Store.open(root))) == 0
    link = Path(root).with_name("link")
    link.symlink_to(root)
    assert forked(lambda: is_refused(lambda: Database(f"{link}/nacre.db"))) == 0


def test_another_file_is_none_of_it(root: str, store: Store, tmp_path: Path) -> None:
    def work() -> int:
        with Store.open(str(tmp_path / "other")) as other:
            return len(other.refs.list())

    assert forked(work) == 0


def test_what_was_carried_is_not_closed_when_it_is_collected(root: str) -> None:
    database = Database(f"{root}.db")

    def work() -> int:
        nonlocal database
        del database
        gc.collect()
        return 0 if is_open(f"{root}.db") else 1

    assert forked(work) == 0
    database.close()


def test_one_at_rest_goes_on_on_both_sides(store: Store) -> None:
    store.rest()
    assert forked(lambda: store.db.change(SET, ("child",)) - 1) == 0
    assert store.db.one(NAME) == ("child",)
    store.db.change(SET, ("parent",))
    assert store.db.one(NAME) == ("parent",)


def test_the_end_of_the_parent_takes_no_log_from_the_child(root: str) -> None:
    """As a supervisor outlives the command that forked it."""
    first, second = Store.open(root), Store.open(root)
    go, gone = os.pipe()
    with resting():
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with Store.open(root) as child:
                child.db.change(SET, ("before",))
                os.close(gone)
                os.read(go, 1)
                child.db.change(SET, ("after",))
                code = 0
        finally:
            os._exit(code)
    os.close(go)
    until(lambda: first.db.one(NAME) == ("before",))
    first.close()
    second.close()
    os.close(gone)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with Store.open(root, create=False) as store:
        assert store.db.one(NAME) == ("after",)
        assert store.db.one("PRAGMA integrity_check") == ("ok",)


def test_other_threads_wait_for_the_fork_and_no_longer(root: str, store: Store) -> None:
    """Neither one that was open nor a new one is opened in between."""
    entered, seen = threading.Event(), []

    def meanwhile() -> None:
        entered.wait(60)
        seen.append(store.refs.list())
        with Store.open(root) as other:
            seen.append(other.refs.list())

    thread = threading.Thread(target=meanwhile)
    thread.start()
    with resting():
        entered.set()
        thread.join(0.05)
        assert seen == []
        pid = os.fork()
        if pid == 0:
            os._exit(is_open(f"{root}/nacre.db"))
        thread.join(60)
        assert seen == [[], []]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_no_fork_within_a_transaction(store: Store) -> None:
    with store.db.transaction(), pytest.raises(AssertionError, match="no fork within"), resting():
        pass
    make_image(store, layer(file("f", b"x")), name="a")
    assert len(store.refs.list()) == 1


def test_a_transaction_of_another_thread_is_waited_for(store: Store) -> None:
    begun, go = threading.Event(), threading.Event()

    def change() -> None:
        with store.db.transaction():
            store.db.change(SET, ("whole",))
            begun.set()
            go.wait(60)

    def see() -> None:
        until(lambda: forkguard._FORKING)
        go.set()

    threads = [threading.Thread(target=work) for work in (change, see)]
    for thread in threads:
        thread.start()
    begun.wait(60)
    with resting():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if store.db.one(NAME) == ("whole",) else 1)
    for thread in threads:
        thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_closed_one_stays_closed(root: str) -> None:
    store = Store.open(root)
    store.close()
    store.close()
    with resting():
        pass
    with pytest.raises(StoreError, match="has been closed"):
        store.refs.list()


def test_a_newer_store_leaves_no_connection(root: str) -> None:
    Store.open(root).close()
    with sqlite3.connect(f"{root}/nacre.db") as direct:
        direct.execute("PRAGMA user_version = 99")
    direct.close()
    with pytest.raises(StoreError, match="has format 99"):
        Store.open(root)
    assert not is_open(f"{root}/nacre.db")


# ---- the end of a connection


def test_the_log_stays_for_the_next(root: str) -> None:
    """To fold it in at the end of each command costs four fdatasync(2)."""
    with Store.open(root) as store:
        store.db.change(SET, ("kept",))
    assert os.path.getsize(f"{root}/nacre.db-wal") > 0
    with Store.open(root, create=False) as store:
        assert store.db.one(NAME) == ("kept",)
        assert store.db.one("PRAGMA integrity_check") == ("ok",)


def _locks(path: str) -> list[str]:
    """The locks that this process has on a file."""
    found = os.stat(path)
    inode = f":{found.st_ino}"
    with open("/proc/locks", encoding="ascii") as locks:
        rows = [line.split() for line in locks]
    return [row[3] for row in rows if row[5].endswith(inode) and row[4] == str(os.getpid())]


def test_the_end_of_one_takes_no_lock_from_another(root: str) -> None:
    first, second = Store.open(root), Store.open(root)
    first.db.change(SET, ("x",))
    before = _locks(f"{root}/nacre.db")
    assert before
    first.close()
    assert _locks(f"{root}/nacre.db") == before
    assert second.db.one(NAME) == ("x",)
    second.close()
    assert _locks(f"{root}/nacre.db") == []


def test_many_that_come_and_go_lose_nothing(root: str) -> None:
    """Each believes at its end that somebody else reads."""
    with Store.open(root) as store:
        store.db.change("INSERT INTO meta VALUES ('count', '0')")
    count = "UPDATE meta SET value = value + 1 WHERE key = 'count'"

    def work() -> None:
        for _ in range(60):
            with Store.open(root, create=False) as store:
                store.db.change(count)

    processes = [Process(work) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    with Store.open(root, create=False) as store:
        assert store.db.one("SELECT value FROM meta WHERE key = 'count'") == ("240",)
    assert os.path.getsize(f"{root}/nacre.db-wal") < 4 << 20
