"""The accounts of a registry: rules, cascades, what is kept and what the schema says."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from nacre.stores.accounts.administration import Administration
from nacre.stores.accounts.database import AccountsDatabase
from nacre.stores.accounts.model import Grant, Role, check_namespace, check_user, covers, namespaces_of
from nacre.stores.accounts.reading import Accounts
from nacre.stores.accounts.schema import METADATA
from nacre.stores.accounts.sources import SqliteSource
from nacre.words.errors import Conflict, InvalidName, NotFound, UsageError


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "registry.db")


@pytest.fixture
def accounts(path: str) -> Iterator[Administration]:
    with Administration(path, "test") as found:
        found.users.add("root", "hash", administrator=True)
        found.users.add("ann", "hash")
        yield found


@pytest.fixture
def reader(path: str) -> Iterator[Accounts]:
    found = Accounts(SqliteSource(path))
    yield found
    found.close()


def test_namespaces_are_compared_by_whole_parts() -> None:
    assert covers("a", "a/b")
    assert covers("a/b", "a/b")
    assert covers("*", "a")
    assert not covers("a", "ab/c")
    assert not covers("a/b", "a")
    assert namespaces_of("a/b/c") == ["a/b/c", "a/b", "a", "*"]


@pytest.mark.parametrize("text", ["", "/", "A", "a/", "../a", "a//b", "a*", "%"])
def test_what_is_no_namespace(text: str) -> None:
    with pytest.raises(InvalidName):
        check_namespace(text)


@pytest.mark.parametrize("text", ["", "a/b", "Ann", "a b", "*", "a" * 65, "a:b"])
def test_what_is_no_user(text: str) -> None:
    with pytest.raises(InvalidName):
        check_user(text)


def test_roles() -> None:
    assert Role.parse("write") == Role.WRITE
    for text in ("none", "READ", ""):
        with pytest.raises(UsageError, match="unknown role"):
            Role.parse(text)


def test_the_tables_are_what_the_schema_says(path: str) -> None:
    database = AccountsDatabase(path)
    with database.change() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    database.close()
    AccountsDatabase(path).close()  # nothing to do


def test_the_first_user_is_an_administrator(path: str, reader: Accounts) -> None:
    with Administration(path, "test") as accounts:
        with pytest.raises(UsageError, match="must be an administrator"):
            accounts.users.add("ann", "hash")
        with pytest.raises(UsageError, match="robot"):
            accounts.users.add("bot", "", administrator=True, robot=True)
        assert not reader.is_closed
        accounts.users.add("root", "hash", administrator=True)
    reader.version()
    assert reader.is_closed
    assert len(reader.signing_key()) == 32


def test_somebody_is_always_in_charge(accounts: Administration) -> None:
    for act in (
        lambda: accounts.users.remove("root"),
        lambda: accounts.users.change("root", administrator=False),
        lambda: accounts.users.change("root", disabled=True),
    ):
        with pytest.raises(Conflict, match="root is the last administrator"):
            act()
    accounts.users.change("ann", administrator=True)
    accounts.users.remove("root")
    assert [user.name for user in accounts.users.list()] == ["ann"]


def test_names_are_taken_once(accounts: Administration) -> None:
    accounts.teams.add("crew")
    for act in (
        lambda: accounts.users.add("ann", ""),
        lambda: accounts.users.add("crew", ""),
        lambda: accounts.teams.add("ann"),
        lambda: accounts.teams.add("crew"),
    ):
        with pytest.raises(Conflict, match="already"):
            act()


def test_what_is_not_there(accounts: Administration) -> None:
    for act in (
        lambda: accounts.users.remove("bob"),
        lambda: accounts.teams.remove("bob"),
        lambda: accounts.teams.join("bob", ["ann"]),
        lambda: accounts.rights.grant("a", Role.READ, user="bob"),
        lambda: accounts.rights.revoke("a", user="ann"),
        lambda: accounts.tokens.add("bob"),
        lambda: accounts.tokens.remove(1),
    ):
        with pytest.raises(NotFound):
            act()
    for who in ({}, {"user": "ann", "team": "crew"}):
        with pytest.raises(UsageError, match="either a user or a team"):
            accounts.rights.grant("a", Role.READ, **who)


def test_who_goes_takes_everything_along(accounts: Administration, path: str) -> None:
    accounts.teams.add("crew")
    accounts.teams.join("crew", ["ann", "ann"])
    accounts.rights.grant("a", Role.READ, user="ann")
    accounts.rights.grant("a", Role.WRITE, user="ann")  # in its place
    accounts.rights.grant("b", Role.READ, team="crew")
    accounts.tokens.add("ann", "laptop", seconds=60)
    assert accounts.rights.grants() == [Grant("a", Role.WRITE, "ann", ""), Grant("b", Role.READ, "", "crew")]
    accounts.users.remove("ann")
    accounts.teams.remove("crew")
    assert (accounts.rights.grants(), accounts.tokens.list(), accounts.teams.list()) == ([], [], [])


def test_the_server_reads_what_was_written(accounts: Administration, reader: Accounts, path: str) -> None:
    accounts.teams.add("crew")
    accounts.teams.join("crew", ["ann"])
    accounts.rights.grant("a", Role.READ, user="ann")
    accounts.rights.grant("a", Role.DELETE, team="crew")
    accounts.rights.set_namespace("a", public=True)
    accounts.rights.set_namespace("a/b", public=False, immutable=("v*", "[0-9]*"))
    found = reader.account("ann")
    assert found is not None
    assert found.grants == {"a": Role.DELETE}
    assert (reader.is_public("a/c"), reader.is_public("a/b/c"), reader.is_public("c")) == (True, False, False)
    assert (reader.immutable("a/b/c"), reader.immutable("a")) == (("v*", "[0-9]*"), ())
    accounts.users.change("ann", disabled=True)
    accounts.rights.set_namespace("a/b", immutable=())
    before = reader.version()
    assert reader.account("ann") is None
    assert reader.immutable("a/b/c") == ()
    with closing(sqlite3.connect(path)) as pushed:
        pushed.execute("CREATE TABLE blobs (digest TEXT)")
    assert reader.version() == before


def test_secrets_are_not_kept(accounts: Administration, path: str) -> None:
    _, secret = accounts.tokens.add("ann")
    with sqlite3.connect(path) as db:
        assert secret not in "".join(db.iterdump())
    db.close()


@pytest.mark.parametrize("pattern", ["", "a b", "a\nb", "a\udcff", "é"])
def test_patterns_of_tags(accounts: Administration, pattern: str) -> None:
    with pytest.raises(UsageError, match="invalid pattern"):
        accounts.rights.set_namespace("a", immutable=(pattern,))


def test_each_change_is_noted(accounts: Administration) -> None:
    accounts.users.change("ann", password="other", disabled=True)
    with pytest.raises(NotFound):
        accounts.users.remove("bob")
    entries = accounts.audit(2)
    assert [(one.actor, one.action, one.subject) for one in entries] == [
        ("test", "user change", "ann: password, disabled"), ("test", "user add", "ann"),
    ]  # fmt: skip
