"""`nacre registry backup` and `restore`: what is saved while the registry is served, and what comes back."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nacre.engine import Config, Engine
from nacre.services.server import RunningServer
from nacre.services.server.documents import read as parse
from nacre.stores.accounts.administration import Administration
from nacre.stores.backup import BackupReport, FolderSource, RegistryBackup
from nacre.stores.copying import content_path
from nacre.stores.integrity import CheckOptions, RegistryReport
from nacre.stores.registry import RegistryStore, catalog_of, checked
from nacre.stores.restoring import RegistryRestore
from nacre.words.digest import Digest
from nacre.words.errors import Conflict, NotFound
from nacre.words.oci import OCI_MANIFEST
from nacre.words.progress import NullProgress
from nacre.words.rules import StorageRules

KILLED_AT = """
import os, signal, sys
from contextlib import closing
from nacre.stores.backup import FolderSource, RegistryBackup
from nacre.stores.registry import catalog_of
from nacre.stores.restoring import RegistryRestore
what, left, source, target = sys.argv[1], [int(sys.argv[2])], *sys.argv[3:]
def killing(call):
    def counted(*args, **more):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)
    return counted
os.rename, os.link = killing(os.rename), killing(os.link)
if what == "restore":
    RegistryRestore(source, target).run()
else:
    with closing(catalog_of(source)) as catalog:
        RegistryBackup(FolderSource(catalog, source), target).run()
"""


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "registry")


@pytest.fixture
def store(root: str) -> Iterator[RegistryStore]:
    """Open, as that of a process that serves it."""
    with closing(RegistryStore(root)) as store:
        yield store


@pytest.fixture
def push(store: RegistryStore, make: Any) -> Callable[..., Any]:
    """Push an image, as a request does."""

    def add(name: str, tag: str, content: bytes = b"content") -> Any:
        layer, config = make.layer(content), make.config(content)
        for blob in (layer, config):
            with store.storage.adding(Digest.of(blob)):
                store.catalog.add_blob(name, store.storage.add(blob, Digest.of(blob)))
        data = json.dumps(make.manifest(config, [layer])).encode()
        digest, document = Digest.of(data), parse(data, OCI_MANIFEST)
        with store.storage.adding(digest):
            store.catalog.put_manifest(name, store.storage.add(data, digest), document, [tag])
        return SimpleNamespace(digest=digest, data=data, layer=layer, config=config)

    return add


@pytest.fixture
def saved(tmp_path: Path) -> str:
    return str(tmp_path / "backup")


@pytest.fixture
def new(tmp_path: Path) -> str:
    return str(tmp_path / "restored")


def backup(root: str, saved: str, **how: Any) -> BackupReport:
    with closing(catalog_of(root)) as catalog:
        return RegistryBackup(FolderSource(catalog, root), saved, **how).run()


def restore(saved: str, root: str) -> RegistryReport:
    RegistryRestore(saved, root).run()
    return checked(root, parse, StorageRules(), CheckOptions(read=True))


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object, **_more: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)


class Meanwhile(NullProgress):
    """Does something once the names are taken."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)

    def task(self, key: str) -> Any:
        return self

    def phase(self, name: str, total: int | None = None) -> None:
        if self._steps:
            self._steps.pop(0)()

    def advance(self, count: int) -> None:
        pass

    def done(self, status: str) -> None:
        pass


def test_all_comes_back(serving: RunningServer, api: Any, api_of: Any, saved: str, new: str) -> None:
    image = api.push_image("team/app", "1")
    api.push_image("team/app", "2", b"other")
    api("DELETE", "team/app/manifests/2")
    api.begin("team/app")
    report = backup(serving.registry.state.store.root, saved)
    assert report == (1, 2, 4, report.bytes, 6, 0, 0, ())
    assert restore(saved, new).damaged == ()
    with RunningServer(new) as other:
        restored, catalog = api_of(other.url), other.registry.state.catalog
        assert restored("GET", "team/app/manifests/1").body == image.data
        assert restored("GET", "team/app/tags/list").json["tags"] == ["1"]
        assert catalog.listed("SELECT count(*) FROM uploads") == [(0,)]
        assert catalog.listed("SELECT tag FROM removed WHERE kind = 'tag'") == [("2",)]
        restored.push_image("team/app", "3", b"newer")
    assert oct(os.stat(saved).st_mode & 0o777) == "0o700"


def test_accounts_come_back(root: str, saved: str, new: str) -> None:
    RegistryStore(root).close()
    with closing(Administration(f"{root}/registry.db", "test")) as accounts:
        accounts.users.add("ann", "", administrator=True)
    backup(root, saved)
    restore(saved, new)
    with closing(Administration(f"{new}/registry.db", "test")) as accounts:
        assert [each.name for each in accounts.users.list()] == ["ann"]


def test_only_what_is_new(push: Any, make: Any, store: RegistryStore, root: str, saved: str) -> None:
    """And what nothing needs any more goes."""
    first = push("app", "1", b"first")
    assert backup(root, saved).added == 3
    push("app", "2", b"second")
    assert backup(root, saved)[4:7] == (3, 0, 0)
    assert backup(root, saved)[4:7] == (0, 0, 0)
    _purge(store, "app", first.digest, make.digest(first.layer), make.digest(first.config))
    assert backup(root, saved)[4:7] == (0, 0, 3)
    assert sum(len(files) for _, _, files in os.walk(f"{saved}/blobs")) == 3


def _purge(store: RegistryStore, name: str, manifest: str, *blobs: str) -> None:
    catalog = store.catalog
    catalog.keeps_removed = False
    assert catalog.delete_manifest(name, Digest(manifest))
    for digest in blobs:
        assert catalog.delete_blob(name, Digest(digest))


def test_what_is_collected_meanwhile(
    push: Any, make: Any, store: RegistryStore, root: str, saved: str, new: str
) -> None:
    """The names are taken once more, without it and with what was pushed."""
    old = push("app", "old", b"old")

    def collect() -> None:
        _purge(store, "app", old.digest, make.digest(old.layer), make.digest(old.config))
        push("app", "new", b"new")

    assert backup(root, saved, progress=Meanwhile(collect)).damaged == ()
    assert restore(saved, new)[1:] == (1, 2, pytest.approx(1, abs=1 << 20), (), (), ())
    with closing(catalog_of(new)) as catalog:
        assert catalog.tags("app", "", 10) == ["new"]


def test_pushes_go_on(push: Any, root: str, saved: str, tmp_path: Path) -> None:
    """Each backup is whole, whenever it was made."""
    over = threading.Event()

    def go_on() -> None:
        number = 0
        while not over.is_set():
            number += 1
            push(f"app{number % 3}", str(number), str(number).encode())

    pushing = threading.Thread(target=go_on)
    pushing.start()
    try:
        found = [backup(root, saved) for _ in range(6)]
        report = restore(saved, str(tmp_path / "restored"))
    finally:
        over.set()
        pushing.join()
    assert [each.damaged for each in found] == [()] * 6
    assert (report.damaged, report.unneeded, report.manifests) == ((), (), found[-1].manifests)


def test_killed(push: Any, root: str, saved: str, tmp_path: Path) -> None:
    """Wherever that is: the earlier backup is whole, and the next one goes on."""
    push("app", "1", b"first")
    backup(root, saved)
    push("app", "2", b"second")
    for number in (2, 3):  # between two blobs, and before the names get theirs
        _kill("backup", number, root, saved)
        new = str(tmp_path / f"restored{number}")
        assert restore(saved, new).damaged == ()
        with closing(catalog_of(new)) as catalog:
            assert catalog.tags("app", "", 10) == ["1"]
    assert backup(root, saved).manifests == 2
    assert sorted(os.listdir(saved)) == ["blobs", "catalog.db", "lock", "registry-backup.json"]


def test_a_restore_that_was_killed(push: Any, root: str, saved: str, new: str) -> None:
    """Nobody serves what is there, and the next one goes on."""
    push("app", "1")
    backup(root, saved)
    _kill("restore", 5, saved, new)
    with pytest.raises(Conflict, match="not restored yet"):
        RegistryStore(new)
    assert restore(saved, new)[:2] == (1, 1)
    assert not [name for name in os.listdir(new) if name.startswith((".new", "restoring"))]
    with pytest.raises(Conflict, match="not empty"):
        restore(saved, new)


def _kill(what: str, number: int, source: str, target: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_AT, what, str(number), source, target], timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_damage(
    monkeypatch: pytest.MonkeyPatch, push: Any, make: Any, root: str, saved: str, new: str
) -> None:
    """It is named, and takes nothing that an earlier backup has."""
    image, other = push("app", "1"), push("web", "1", b"other")
    layer, config = make.digest(image.layer), make.digest(other.config)
    _spoil(root, config, None)
    _spoil(root, layer, b"x" * len(image.layer))
    without_links(monkeypatch)
    lost = (config, "is missing")
    report = backup(root, saved)
    assert set(report.damaged) == {lost, (layer, "has other content than its digest says")}
    assert report.copied == report.bytes - len(image.layer) - len(other.config)
    _spoil(root, layer, image.layer)
    assert backup(root, saved).damaged == (lost,)
    _spoil(root, layer, None)
    assert backup(root, saved, read=True).damaged == (lost,)
    found = restore(saved, new).damaged
    assert [(name, each.part) for each in found for name in each.names] == [("web:1", config)]


def _spoil(root: str, digest: str, data: bytes | None) -> None:
    path = content_path(root, digest)
    if os.path.exists(path):
        os.unlink(path)
    if data is not None:
        Path(path).write_bytes(data)


def test_damage_of_the_backup(push: Any, make: Any, root: str, saved: str, tmp_path: Path) -> None:
    """It is not restored; `read` finds and mends it."""
    image = push("app", "1")
    layer = make.digest(image.layer)
    backup(root, saved)
    _spoil(saved, layer, b"x" * len(image.layer))
    assert [each.part for each in restore(saved, str(tmp_path / "a")).damaged] == [layer]
    assert backup(root, saved).added == 0
    assert backup(root, saved, read=True).added == 1
    assert restore(saved, str(tmp_path / "b")).damaged == ()
    Path(saved, "catalog.db").write_bytes(b"x" * 5000)
    with pytest.raises(Exception, match="not a database"):
        restore(saved, str(tmp_path / "c"))


def test_what_is_no_place_for_a_backup(
    store: RegistryStore, root: str, saved: str, new: str, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="no backup"):
        restore(str(tmp_path), new)
    with pytest.raises(Conflict, match="neither empty nor a backup"):
        backup(root, str(tmp_path))
    backup(root, saved)
    RegistryStore(new).close()
    with pytest.raises(Conflict, match="holds the backup of"):
        backup(new, saved)

    def again() -> None:
        with pytest.raises(Conflict, match="another process"):
            backup(root, saved)

    backup(root, saved, progress=Meanwhile(again))


def test_by_command(nacre: Any, push: Any, make: Any, root: str, saved: str, new: str) -> None:
    image = push("app", "1")
    done = nacre("registry", "backup", saved, "--root", root)
    assert done.lines[0].startswith("Backed up 1 repositories, 1 manifests, 2 blobs, ")
    _spoil(saved, make.digest(image.layer), None)
    done = nacre("registry", "restore", saved, "--root", new, check=False)
    assert (done.code, done.lines[-1]) == (1, "1 damaged")
    _spoil(root, make.digest(image.layer), None)
    done = nacre("registry", "backup", saved, "--root", root, "--format", "json", check=False)
    found = json.loads(done.out)
    assert (done.code, found["Repositories"], found["Added"], len(found["Damaged"])) == (1, 1, 0, 1)


def test_where_content_is_must_be_known(saved: str, new: str) -> None:
    RegistryStore(new).close()
    with closing(catalog_of(new)) as catalog:
        catalog.change(lambda db: db.execute("INSERT INTO bucket VALUES ('b', 0)"))
    with Engine(Config(f"{saved}-store")) as engine:
        with pytest.raises(Conflict, match="object storage") as caught:
            engine.registries.backup(saved, new)
        assert "--config" in caught.value.hint
        os.unlink(f"{new}/registry.db")
        with pytest.raises(Conflict, match="is no registry"):
            engine.registries.backup(saved, new)
    assert not os.path.exists(saved)
