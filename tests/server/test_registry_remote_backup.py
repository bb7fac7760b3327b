"""`nacre registry backup --url`: the backup of a registry elsewhere, over its management API."""

from __future__ import annotations

import base64
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("msgspec")

from s3server import BadProxy, S3Server, serving_s3

from nacre.engine import Config, Engine
from nacre.engine.accounts import RegistryAccounts
from nacre.engine.network import NetworkSettings
from nacre.grammars.wire.auth import Credentials
from nacre.services.server import RunningServer
from nacre.services.server.documents import read as parse
from nacre.stores.backup import BackupReport
from nacre.stores.copying import content_path
from nacre.stores.integrity import CheckOptions, RegistryReport
from nacre.stores.namecopy import check_names
from nacre.stores.registry import checked
from nacre.stores.restoring import RegistryRestore
from nacre.words.errors import RegistryError, StoreError
from nacre.words.rules import MetadataRules, RegistryRules, StorageRules

PASSWORD = "long enough"
LARGE = os.urandom(3 << 20)


class Elsewhere:
    """A registry that is served, and backups of it through a proxy that does what it is told."""

    def __init__(self, serving: RunningServer, api: Any, folder: Path) -> None:
        self.serving, self.api = serving, api
        self.proxy = BadProxy(int(serving.url.rpartition(":")[2]))
        self.saved = str(folder / "backup")
        place = f"127.0.0.1:{self.proxy.port}"
        users = ((place, Credentials("alice", PASSWORD)),)
        network = NetworkSettings(users=users, insecure=(place,))
        self._engine = Engine(Config(str(folder / "store"), network=lambda: network))
        self._url = f"http://{place}"

    def backup(self, **how: Any) -> BackupReport:
        found: BackupReport = self._engine.registries.remote(self._url).backup(self.saved, **how)
        return found

    @property
    def fetched(self) -> list[str]:
        """Digests that were asked for."""
        return [line.split()[1].rpartition("/")[2] for line in self.proxy.lines if "/contents/" in line]

    def close(self) -> None:
        self.proxy.close()
        self._engine.close()


@pytest.fixture
def elsewhere(folder: str, accounts: RegistryAccounts, api_of: Any, tmp_path: Path) -> Iterator[Elsewhere]:
    accounts.add_user("alice", PASSWORD, admin=True)
    accounts.add_user("bob", PASSWORD)
    with RunningServer(folder) as serving:
        found = Elsewhere(serving, api_of(serving.url, Authorization=basic("alice")), tmp_path)
        yield found
        found.close()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()


def restored(saved: str, root: str) -> RegistryReport:
    RegistryRestore(saved, root).run()
    return checked(root, parse, StorageRules(), CheckOptions(read=True))


def test_all_comes_and_only_what_is_new(elsewhere: Elsewhere, api_of: Any, tmp_path: Path) -> None:
    first = elsewhere.api.push_image("team/app", "1", LARGE)
    report = elsewhere.backup()
    assert (report.repositories, report.manifests, report.blobs, report.damaged) == (1, 1, 2, ())
    assert (report.added, report.removed) == (3, 0)
    second = elsewhere.api.push_image("team/app", "2", b"two")
    elsewhere.proxy.lines.clear()
    assert elsewhere.backup().added == 3
    assert first.digest not in elsewhere.fetched
    assert second.digest.replace(":", "%3A") in elsewhere.fetched
    root = str(tmp_path / "restored")
    assert restored(elsewhere.saved, root).damaged == ()
    with RunningServer(root) as serving:
        api = api_of(serving.url, Authorization=basic("bob"))
        assert api("GET", "team/app/manifests/1").status == 403
        api = api_of(serving.url, Authorization=basic("alice"))
        assert api("GET", "team/app/manifests/1").body == first.data
        assert api("GET", f"team/app/blobs/sha256:{sha256(first.layer)}").body == first.layer


def test_nothing_is_left_where_it_is_served(elsewhere: Elsewhere, folder: str) -> None:
    """The copy of the names goes when it was sent, also one of which a kill left a part a day ago."""
    elsewhere.api.push_image("app", "1")
    old, new = Path(folder, "names-old.db"), Path(folder, "names-new.db")
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    elsewhere.backup()
    assert sorted(path.name for path in Path(folder).glob("names-*")) == [new.name]


def test_a_line_that_breaks_goes_on(elsewhere: Elsewhere) -> None:
    """A layer comes in parts: each answer ends after 1 MiB of its body."""
    image = elsewhere.api.push_image("app", "1", LARGE)

    def cut(line: str, answer: bytes) -> bytes:
        head, blank, body = answer.partition(b"\r\n\r\n")
        return head + blank + body[: 1 << 20]

    elsewhere.proxy.edit = cut
    assert elsewhere.backup().damaged == ()
    layer = content_path(elsewhere.saved, f"sha256:{sha256(image.layer)}")
    assert Path(layer).read_bytes() == image.layer
    assert len(elsewhere.fetched) > 3


def test_other_bytes_than_the_digest_says(elsewhere: Elsewhere) -> None:
    image = elsewhere.api.push_image("app", "1", LARGE)
    digest = f"sha256:{sha256(image.layer)}"
    elsewhere.proxy.edit = lambda line, answer: (
        answer[:-1] + bytes([answer[-1] ^ 1]) if digest.replace(":", "%3A") in line else answer
    )
    report = elsewhere.backup()
    assert report.damaged == ((digest, "has other content than its digest says"),)
    elsewhere.proxy.edit = lambda line, answer: answer
    assert elsewhere.backup().damaged == ()


def test_names_that_were_changed_on_their_way(elsewhere: Elsewhere) -> None:
    """The backup before stays as it is."""
    elsewhere.api.push_image("app", "1")
    elsewhere.backup()
    before = Path(elsewhere.saved, "catalog.db").read_bytes()
    elsewhere.api.push_image("app", "2", b"two")
    elsewhere.proxy.edit = lambda line, answer: (
        answer.replace(b"CREATE TABLE tags", b"CREATE TABLE tagz") if "/names" in line else answer
    )
    with pytest.raises(RegistryError, match="other content than its checksum says"):
        elsewhere.backup()
    assert Path(elsewhere.saved, "catalog.db").read_bytes() == before


def test_what_the_registry_has_lost(elsewhere: Elsewhere, folder: str) -> None:
    image = elsewhere.api.push_image("app", "1")
    digest = f"sha256:{sha256(image.layer)}"
    os.unlink(content_path(folder, digest))
    assert elsewhere.backup().damaged == ((digest, "is missing or damaged"),)


def test_what_is_collected_meanwhile(elsewhere: Elsewhere) -> None:
    """The names are taken once more."""
    elsewhere.api.push_image("app", "1")
    state, gone = elsewhere.serving.registry.state, []
    state.catalog.keeps_removed = False

    def collect(line: str) -> None:
        if "/contents/" in line and not gone:
            gone.extend(state.catalog.delete_repository("app"))
            elsewhere.api.push_image("other", "1", b"other")

    elsewhere.proxy.trouble = collect
    report = elsewhere.backup()
    assert (report.repositories, report.manifests, report.damaged) == (1, 1, ())
    assert sum("/names" in line for line in elsewhere.proxy.lines) >= 2


def test_strange_names(tmp_path: Path) -> None:
    """What comes from somebody else must not run by itself, nor be anything but a database."""
    for name, sql in (
        ("trigger", "CREATE TABLE t (x); CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END"),
        ("view", "CREATE VIEW v AS SELECT 1"),
        ("fts", "CREATE VIRTUAL TABLE f USING fts5(x)"),
    ):
        path = str(tmp_path / name)
        with closing(sqlite3.connect(path)) as made:
            made.executescript(sql)
        with pytest.raises(StoreError, match="is no backup of a registry"):
            check_names(path)
    (tmp_path / "text").write_text("no database" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        check_names(str(tmp_path / "text"))


def test_by_command(nacre: Any, elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.api.push_image("app", "1")
    url = elsewhere.serving.url
    variable = "NACRE_AUTH_" + url.removeprefix("http://").replace(".", "_").replace(":", "___")
    nacre.env[variable] = f"alice:{PASSWORD}"
    done = nacre("registry", "backup", "saved", "--url", url)
    assert done.lines[0].startswith("Backed up 1 repositories, 1 manifests, 2 blobs, ")
    assert nacre("registry", "restore", "saved", "--root", "new").lines[-1] == "No problems found"
    told = nacre("registry", "audit", "--url", url, "--action", "backup").lines
    assert len(told) == 2
    assert told[1].split()[-3:] == ["alice", "backup", "127.0.0.1"]
    nacre.env[variable] = f"bob:{PASSWORD}"
    refused = nacre("registry", "backup", "other", "--url", url, check=False)
    assert refused.code == 1
    assert "only administrators" in refused.err
    assert "Traceback" not in refused.err
    other = nacre("registry", "backup", "saved", "--root", "new", check=False)
    assert "holds the backup of" in other.err


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from serving_s3(tmp_path_factory.mktemp("s3"))


def dumped(path: str, read: Callable[[sqlite3.Connection], Any]) -> Any:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as found:
        return read(found)


def test_names_in_postgresql_and_content_in_a_bucket(
    s3: S3Server, postgresql: Any, tmp_path: Path, api_of: Any
) -> None:
    """From elsewhere and on the machine: both are the same, and come back into a folder whole."""
    rules = RegistryRules(metadata=MetadataRules(postgresql.new_database()), storage=s3.rules())
    root = str(tmp_path / "replica")
    with RegistryAccounts(root, "test", rules.metadata.url) as accounts:
        accounts.add_user("alice", PASSWORD, admin=True)
        accounts.set_namespace("team", public=True, quota=10**9)
        accounts.add_token("alice", "api")
    with RunningServer(root, rules=rules) as serving:
        api = api_of(serving.url, Authorization=basic("alice"))
        images = {tag: api.push_image("team/app", tag, tag.encode() * 1000) for tag in "12"}
        api("DELETE", "team/app/manifests/2")
        found = Elsewhere(serving, api, tmp_path)
        assert found.backup().damaged == ()
        found.close()
    local = str(tmp_path / "local")
    with Engine(Config(str(tmp_path / "store"))) as engine:
        assert engine.registries.backup(local, root, rules.storage).damaged == ()
    rows = [dumped(f"{place}/catalog.db", tables) for place in (found.saved, local)]
    names = rows[1]
    for table in names.keys() - {"activity", "sqlite_sequence"}:  # of the login for the first backup
        assert rows[0][table] == names[table], table
    assert names["users"] and names["tokens"] and names["removed"] and names["activity"]  # noqa: PT018
    assert not any(names[name] for name in ("contents", "bucket", "discarded", "uploads", "jobs"))
    last = dict(
        dumped(f"{local}/catalog.db", lambda db: db.execute("SELECT * FROM sqlite_sequence").fetchall())
    )
    assert last["activity"] == max(row[0] for row in names["activity"])
    new = str(tmp_path / "restored")
    assert restored(local, new).damaged == ()
    with RunningServer(new) as serving:
        api = api_of(serving.url)
        assert api("GET", "team/app/manifests/1").body == images["1"].data
        assert api("GET", "team/app/manifests/2").status == 404


def tables(found: sqlite3.Connection) -> dict[str, list[Any]]:
    named = [row[0] for row in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: sorted(found.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in named}
