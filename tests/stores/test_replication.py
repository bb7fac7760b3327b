"""What waits for replication: in order for each repository, once for each tag, again after failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.stores.activity import Action, Activity, ActivityQuery
from nacre.stores.catalog import Catalog, SqliteDatabase
from nacre.stores.replication import AddedRules, ReplicationQueue, ReplicationRow
from nacre.stores.storage.local import FolderContents
from nacre.words.errors import UsageError
from nacre.words.replication import ReplicationRule, check_replication

RULE = ReplicationRule("r", "registry.example")


class Lab:
    """A catalog whose time is `now`, and the queue of one rule."""

    def __init__(self, catalog: Callable[[Callable[[], float]], Any]) -> None:
        self.now = 1e9
        self.catalog = Catalog(catalog(lambda: self.now), FolderContents(lambda digest: None))
        self.queue = ReplicationQueue(self.catalog, "r", lambda: 0.5)

    def due(self, *busy: str) -> list[str]:
        return [f"{row.repository}:{row.reference}" for row in self.queue.due(busy, 10)]

    def first(self) -> ReplicationRow:
        return self.queue.due((), 1)[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    if request.param == "sqlite":
        made = Lab(lambda clock: SqliteDatabase(str(tmp_path / "registry.db"), clock))
    else:
        pytest.importorskip("psycopg")
        from nacre.stores.catalog.postgresql import PostgresDatabase

        url = request.getfixturevalue("postgresql").new_database()
        made = Lab(lambda clock: PostgresDatabase(url, clock))
    with closing(made.catalog):
        yield made


def test_who_comes_late_has_it_looked_at_again(lab: Lab) -> None:
    """Two processes took the same row; the one that stood still may have put there what was true before."""
    lab.queue.add([("a", "1")])
    row = lab.first()
    lab.queue.done(row, "sha256:new")
    assert lab.due() == []
    lab.queue.done(row, "sha256:old")
    assert lab.due() == ["a:1"]
    lab.queue.done(lab.first(), "sha256:new")
    assert lab.due() == []
    assert [each.digest for each in lab.queue.brought("a")] == ["sha256:new"]
    lab.queue.add([("a", "1")])
    row = lab.first()
    lab.queue.done(row, "")
    lab.queue.done(row, "")
    assert lab.due() == ["a:1"]


def test_each_repository_in_its_order(lab: Lab) -> None:
    assert lab.queue.add([("a", "1"), ("a", "2"), ("b", "1"), ("a", "1")]) == 3
    assert lab.due() == ["a:1", "b:1"]
    assert lab.due("a") == ["b:1"]
    lab.queue.done(lab.first(), "sha256:x")
    assert lab.due() == ["a:2", "b:1"]
    assert lab.queue.counts() == (2, 0, 1, 1e9)
    assert [row.digest for row in lab.queue.brought("a")] == ["sha256:x"]
    assert lab.queue.brought_of() == ["a"]


def test_a_failure_holds_back_what_comes_behind(lab: Lab) -> None:
    """Also what is added later; another repository goes on, and a success ends it."""
    lab.queue.add([("a", "1"), ("a", "2"), ("b", "1")])
    lab.queue.failed(lab.first(), "no room", 10.0)
    lab.queue.add([("a", "3")])
    assert lab.due() == ["b:1"]
    lab.now += 10
    assert lab.due() == ["a:1", "b:1"]
    row = lab.first()
    assert (row.tries, row.error) == (1, "no room")
    lab.queue.failed(row, "no room", 20.0)
    lab.queue.hurry()
    lab.queue.done(lab.first(), "sha256:x")
    assert lab.due() == ["a:2", "b:1"]


def test_what_came_again_meanwhile_stays(lab: Lab) -> None:
    lab.queue.add([("a", "1")])
    row = lab.first()
    lab.queue.add([("a", "1")])
    lab.queue.done(row, "sha256:x")
    lab.queue.failed(row, "late", 10.0)
    assert lab.due() == ["a:1"]
    lab.queue.give_up(row, "late")
    assert lab.queue.counts().waiting == 1


def test_what_is_given_up_waits_for_a_change(lab: Lab) -> None:
    lab.queue.add([("a", "1"), ("a", "2")])
    lab.queue.failed(lab.first(), "invalid", 10.0)
    lab.queue.give_up(lab.first() if lab.due() else lab.queue.unfinished(1)[0], "invalid")
    assert lab.due() == ["a:2"]
    assert lab.queue.counts()[:3] == (1, 1, 0)
    assert [row.reference for row in lab.queue.unfinished(9)] == ["2", "1"]
    lab.queue.add([("a", "1")])
    assert lab.queue.counts()[:3] == (2, 0, 0)


def test_a_tag_that_goes_to_and_fro_is_slowed_down(lab: Lab) -> None:
    waits = []
    for _ in range(6):
        lab.queue.add([("a", "1")])
        waits.append(lab.queue.unfinished(1)[0].again - lab.now)
        lab.queue.hurry()
        lab.queue.done(lab.first(), "sha256:x")
    assert [max(wait, 0.0) for wait in waits] == [0.0, 0.0, 0.0, 4.0, 8.0, 16.0]
    lab.now += 60
    lab.queue.add([("a", "1")])
    assert lab.due() == ["a:1"]


def test_nothing_is_left_of_what_is_nowhere(lab: Lab) -> None:
    lab.queue.add([("a", "1")])
    action = Action("replicate", "a", "1", "", "sha256:x")
    lab.queue.done(lab.first(), "", action)
    assert lab.queue.counts() == (0, 0, 0, 0.0)
    (entry,) = Activity(lab.catalog).after(0, query=ActivityQuery(action="replicate"))
    assert (entry.actor, entry.former) == ("replication r", "sha256:x")


def test_it_is_kept(lab: Lab) -> None:
    """Rows, how far it is and what is wanted, by another process; of each rule its own."""
    lab.queue.add([("a", "1")])
    lab.queue.keep(lab.queue.progress._replace(position=7, tries=2))
    lab.queue.want()
    again, other = ReplicationQueue(lab.catalog, "r"), ReplicationQueue(lab.catalog, "other")
    assert (again.progress.position, again.progress.tries, again.is_wanted, again.is_due) == (
        7,
        2,
        True,
        True,
    )
    assert (other.progress.position, other.is_wanted, other.is_due) == (0, False, False)
    again.forget()
    assert (again.progress.position, again.is_wanted, again.is_due) == (0, False, False)


def test_rules_that_are_added(lab: Lab) -> None:
    added = AddedRules(lab.catalog)
    added.add(RULE.replace(tags=("v*",), password="secret", user="me"))
    before = added.text
    added.add(ReplicationRule("a", "other.example", "pull", deletes=True, rate=1 << 20))
    assert added.text != before
    first, second = AddedRules(lab.catalog).all()
    assert (first.name, first.deletes, first.rate, second.password, second.tags) == (
        "a", True, 1 << 20, "secret", ("v*",),
    )  # fmt: skip
    added.add(RULE)
    assert added.all()[1] == RULE
    assert (added.remove("r"), added.remove("r")) == (True, False)
    for number in range(49):
        added.add(RULE.replace(name=f"n{number}"))
    with pytest.raises(UsageError, match="50 rules"):
        added.add(RULE.replace(name="one more"))


def test_names_on_both_sides() -> None:
    rule = RULE.replace(strip="team", prefix="backup/x", repositories=("*/app*",), exclude=("*-rc",))
    assert rule.renamed("team/app") == "backup/x/app"
    assert rule.wants("team/app", "1")
    for repository, tag in (("app", "1"), ("teams/app", "1"), ("team/other", "1"), ("team/app", "1-rc")):
        assert not rule.wants(repository, tag)
    growing = RULE.replace(prefix="a/b")
    assert [growing.wants(name) for name in ("x", "a/b/x", "a/b/a/b/x", "y/a/b/a/b")] == [
        True,
        True,
        False,
        False,
    ]
    assert "secret" not in repr(RULE.replace(user="me", password="secret"))
    assert RULE.replace(tags=("x",)).what != RULE.what == RULE.replace(rate=1 << 20).what


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "needs a name"), ({"direction": "both"}, "unknown direction"),
        ({"registry": "https://x/team"}, "invalid registry"), ({"registry": "ftp://x"}, "invalid registry"),
        ({"registry": "user@x"}, "invalid registry"), ({"registry": ""}, "invalid registry"),
        ({"user": "me"}, "both a user and a password"), ({"tags": ()}, "no repository or no tag"),
        ({"prefix": "a/"}, "invalid namespace"), ({"interval": 1.0}, "10 seconds at least"),
        ({"timeout": 1.0}, "60 seconds at least"), ({"rate": 100}, "65536 bytes"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RULE.replace(**fields)


def test_rules_that_cannot_be_together() -> None:
    with pytest.raises(UsageError, match="one name"):
        check_replication([RULE, RULE], ())
    pull = RULE.replace(direction="pull", prefix="docker.io/library")
    with pytest.raises(UsageError, match=r"docker\.io holds copies"):
        check_replication([pull], ["docker.io"])
    check_replication(
        [pull.replace(prefix="docker.io2"), RULE.replace(name="p", prefix="docker.io")], ["docker.io"]
    )
