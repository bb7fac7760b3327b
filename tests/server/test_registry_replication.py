"""Replication by rule: what goes, what comes, what does not, and that it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakeregistry import Exchange, FakeRegistry
from machine import reserved_port
from registries import registry_process
from replicationkit import Site, push_index, sent, sync

from nacre.stores.activity import ActivityQuery
from nacre.words.oci import OCI_MANIFEST

Sites = Callable[..., Site]


@pytest.fixture
def sites(tmp_path: Path, api_of: Any) -> Iterator[Sites]:
    """Begins a registry by its name."""
    made: list[Site] = []
    with ExitStack() as opened:

        def begin(name: str, **options: Any) -> Site:
            site = Site(tmp_path / name, api_of, **options)
            opened.enter_context(site.running)
            made.append(site)
            return site

        yield begin
        for site in made:
            site.close()


@pytest.fixture
def here(sites: Sites) -> Site:
    return sites("here")


@pytest.fixture
def there(sites: Sites) -> Site:
    return sites("there")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    made = FakeRegistry()
    yield made
    made.close()


@pytest.fixture
def accounts_of() -> Any:
    """Opens the accounts of a site."""
    pytest.importorskip("sqlalchemy")
    from nacre.engine.accounts import RegistryAccounts

    return lambda site: RegistryAccounts(site.state.store.root, "test")


# ── push ──


def test_what_is_pushed_goes_there(here: Site, there: Site, make: SimpleNamespace) -> None:
    """What was there before the rule, what comes after, an index with its images; nothing twice."""
    here.api.push_image("team/app", "old")
    rule = here.rule(there, prefix="copies")
    sync(rule)
    push_index(here, "team/app", "1", make)
    sync(rule)
    assert there.tags("copies/team/app") == here.tags("team/app")
    assert not rule.is_due()
    before = sent(there)
    rule.queue.want()
    sync(rule)
    more = sent(there)
    assert (more.get("PUT"), more.get("POST")) == (before.get("PUT"), before.get("POST"))
    assert rule.totals.tags == {"copied": 2, "unchanged": 2, "skipped": 1}
    entries = here.state.activity.page(query=ActivityQuery(action="replicate"))
    assert [(entry.actor, entry.reference) for entry in entries] == [
        ("replication r", "1"), ("replication r", "old"),
    ]  # fmt: skip


def test_only_what_the_rule_says(here: Site, there: Site) -> None:
    for name, tag in (("team/app", "v1"), ("team/app", "v1-rc"), ("team/app", "dev"), ("other/app", "v1")):
        here.api.push_image(name, tag)
    rule = here.rule(there, repositories=("*/app",), tags=("v*",), exclude=("*-rc",), strip="team")
    sync(rule)
    assert there.state.catalog.repositories("", 10) == ["app"]
    assert there.tags("app") == {"v1": here.tags("team/app")["v1"]}
    here.api.push_image("team/app", "dev2")
    sync(rule)
    assert list(there.tags("app")) == ["v1"]


def test_a_layer_that_is_there_is_mounted(here: Site, there: Site) -> None:
    """Of two repositories with the same layers the second one sends a manifest alone."""
    here.api.push_image("a", "1", b"same")
    rule = here.rule(there)
    sync(rule)
    moved = rule.totals.moved
    here.api.push_image("b", "1", b"same")
    sync(rule)
    assert rule.totals.moved == moved > 0
    assert there.tags("b") == here.tags("b")
    assert there.state.activity.page(query=ActivityQuery(action="mount"))


def test_referrers_follow_by_a_switch(here: Site, there: Site, sites: Sites, make: SimpleNamespace) -> None:
    """Those of before and those that come later; what refers to something else does not go."""
    plain = sites("plain")
    with_them, without = here.rule(there, referrers=True), here.rule(plain, "plain")
    image = here.api.push_image("app", "1")
    subject = make.descriptor(image.data, OCI_MANIFEST)
    first = here.api.push_image("app", "sig1", b"first", subject=subject)
    sync(with_them, without)
    data = json.dumps(
        make.manifest(first.config, [first.layer]) | {"subject": subject, "annotations": {"a": "b"}}
    )
    second = make.digest(data.encode())
    assert here.api.put_manifest("app", second, data.encode()).status == 201
    stray = make.descriptor(b"{}", OCI_MANIFEST)
    lost = json.dumps(make.manifest(first.config, [first.layer]) | {"subject": stray}).encode()
    assert here.api.put_manifest("app", make.digest(lost), lost).status == 201
    sync(with_them, without)
    found = there.api("GET", f"app/referrers/{image.digest}").json["manifests"]
    assert {each["digest"] for each in found} == {first.digest, second}
    assert there.api("HEAD", f"app/manifests/{make.digest(lost)}").status == 404
    assert plain.api("HEAD", f"app/manifests/{second}").status == 404


def test_what_is_deleted_goes_there_by_a_switch(here: Site, there: Site, sites: Sites) -> None:
    """A tag, all tags of a manifest, a repository; never what somebody else put there."""
    kept = sites("kept")
    rule, keeping = here.rule(there, deletes=True), here.rule(kept, "keeping")
    first = here.api.push_image("app", "1")
    for tag, content in (("same", b"content"), ("2", b"2"), ("theirs", b"3"), ("rest", b"4")):
        here.api.push_image("app", tag, content)
    sync(rule, keeping)
    other = there.api.push_image("app", "theirs", b"moved there")
    assert here.api("DELETE", "app/manifests/2").status == 202
    assert here.api("DELETE", f"app/manifests/{first.digest}").status == 202
    assert here.api("DELETE", "app/manifests/theirs").status == 202
    sync(rule, keeping)
    assert list(there.tags("app")) == ["rest", "theirs"]
    assert there.tags("app")["theirs"] == other.digest
    assert len(kept.tags("app")) == 5
    for _ in here.state.catalog.delete_repository("app"):
        pass
    sync(rule, keeping)
    assert list(there.tags("app")) == ["theirs"]


def test_what_moved_many_times_goes_once(here: Site, there: Site) -> None:
    rule = here.rule(there)
    sync(rule)
    for content in (b"1", b"2", b"3"):
        here.api.push_image("app", "latest", content)
    sync(rule)
    assert there.tags("app") == here.tags("app")
    assert rule.totals.tags == {"copied": 1}


def test_a_replica_that_stood_still_does_no_harm(here: Site, there: Site) -> None:
    """It took a row, another one did it and went on; then it wakes, and puts there what was true before."""
    rule = here.rule(there)
    old = here.api.push_image("app", "1", b"old")
    list(rule.way.changes())
    (late,) = rule.queue.due((), 1)
    sync(rule)
    new = here.api.push_image("app", "1", b"new")
    sync(rule)
    there.api.put_manifest("app", "1", old.data)
    rule.queue.done(late, old.digest)
    sync(rule)
    assert there.tags("app") == {"1": new.digest}


def test_copies_of_an_upstream_do_not_go(here: Site, there: Site) -> None:
    from nacre.stores.cached import CachedRepositories

    CachedRepositories(here.state.catalog).mark("docker.io/library/app", "docker.io")
    here.api.push_image("docker.io/library/app", "1")
    sync(here.rule(there))
    assert there.state.catalog.repositories("", 10) == []


def test_a_forgotten_record_is_made_up_for(here: Site, there: Site) -> None:
    """The record of activity no longer has what happened: all is compared, also what is gone."""
    rule = here.rule(there, deletes=True)
    for tag in ("gone", "old"):
        here.api.push_image("app", tag)
    sync(rule)
    here.api.push_image("app", "1")
    assert here.api("DELETE", "app/manifests/gone").status == 202
    here.state.catalog.change(lambda db: db.execute("DELETE FROM activity"))
    here.api.push_image("app", "2")
    sync(rule)
    assert there.tags("app") == here.tags("app")
    assert list(there.tags("app")) == ["1", "2", "old"]


# ── pull ──


def test_what_is_there_comes(here: Site, there: Site, make: SimpleNamespace) -> None:
    """A tag, an index, what moved; what is the same is not fetched again."""
    there.api.push_image("team/app", "1")
    push_index(there, "team/app", "2", make)
    rule = here.rule(there, direction="pull", repositories=("team/*",), prefix="from", strip="team")
    sync(rule)
    assert here.tags("from/app") == there.tags("team/app")
    assert not rule.is_due()
    there.api.push_image("team/app", "1", b"moved")
    rule.queue.want()
    sync(rule)
    assert here.tags("from/app") == there.tags("team/app")
    before = sent(there)["GET"]
    rule.queue.want()
    sync(rule)
    assert sent(there)["GET"] == before + 2  # the lists
    assert rule.totals.tags == {"copied": 3}
    entries = here.state.activity.page(query=ActivityQuery(repository="from/app"))
    assert {entry.actor for entry in entries} == {"replication r"}


def test_what_is_gone_there_goes_by_a_switch(here: Site, there: Site) -> None:
    """What came from there, and neither what was pushed here nor what moved here; never everything."""
    for tag in ("1", "2", "3"):
        there.api.push_image("app", tag, tag.encode())
    rule = here.rule(there, direction="pull", repositories=("app",), deletes=True)
    sync(rule)
    here.api.push_image("app", "mine")
    here.api.push_image("app", "2", b"moved here")
    for tag in ("1", "2"):
        assert there.api("DELETE", f"app/manifests/{tag}").status == 202
    rule.queue.want()
    sync(rule)
    assert list(here.tags("app")) == ["2", "3", "mine"]
    assert there.api("DELETE", "app/manifests/3").status == 202
    rule.queue.want()
    sync(rule)
    assert "3" in here.tags("app")


def test_referrers_come_by_a_switch(here: Site, there: Site, make: SimpleNamespace) -> None:
    """Also those that came after the image."""
    image = there.api.push_image("app", "1")
    rule = here.rule(there, direction="pull", repositories=("app",), tags=("1",), referrers=True)
    sync(rule)
    subject = make.descriptor(image.data, OCI_MANIFEST)
    there.api.push_image("app", "sig", b"signature", subject=subject)
    rule.queue.want()
    sync(rule)
    assert len(here.api("GET", f"app/referrers/{image.digest}").json["manifests"]) == 1
    assert list(here.tags("app")) == ["1"]


def test_nothing_comes_into_copies_of_an_upstream(here: Site, there: Site) -> None:
    from nacre.stores.cached import CachedRepositories

    CachedRepositories(here.state.catalog).mark("app", "docker.io")
    there.api.push_image("app", "1")
    rule = here.rule(there, direction="pull", repositories=("app",))
    sync(rule)
    assert here.tags("app") == {}
    assert "copies of an upstream" in rule.queue.unfinished(1)[0].error
    assert "is given up" in here.log.pop()


def test_immutable_tags_and_private_blobs_stay(
    here: Site, there: Site, tmp_path: Path, accounts_of: Any, make: SimpleNamespace
) -> None:
    """What is immutable here is not moved from elsewhere; a manifest that names a blob of another repository
    here gets it from there only.
    """
    hidden = here.api.push_image("secret/app", "1", b"hidden")
    here.api.push_image("from/app", "v1", b"ours")
    with accounts_of(here) as accounts:
        accounts.add_user("alice", "correct horse", admin=True)
        accounts.set_namespace("from", immutable=["v*"])
    there.api.push_image("app", "v1", b"theirs")
    there.api.push_image("app", "2", b"hidden")
    rule = here.rule(there, direction="pull", repositories=("app",), prefix="from")
    before, ours = sent(there).get("GET", 0), here.tags("from/app")["v1"]
    sync(rule)
    assert here.tags("from/app")["v1"] == ours
    assert "immutable here" in rule.queue.unfinished(1)[0].error
    assert here.tags("from/app")["2"] == hidden.digest
    assert sent(there)["GET"] >= before + 5  # lists, manifests, and the blobs that `secret` has already
    here.log.clear()


def test_who_this_registry_is_there(here: Site, there: Site, accounts_of: Any) -> None:
    """A wrong password is tried again later; the right one is for that registry alone."""
    with accounts_of(there) as accounts:
        accounts.add_user("mirror", "correct horse", admin=True)
    wait = time.monotonic() + 30
    while there.api("GET", "/v2/").status != 401:
        assert time.monotonic() < wait
    here.api.push_image("app", "1")
    wrong = here.rule(there, "wrong", user="mirror", password="battery")
    sync(wrong)
    assert wrong.queue.counts()[:3] == (1, 0, 0)
    assert "battery" not in here.log.pop()
    sync(here.rule(there, "right", user="mirror", password="correct horse"))
    assert there.tags("app") == here.tags("app")


def test_a_rate_is_kept_and_the_registry_is_not_asked_through_mirrors(here: Site, there: Site) -> None:
    slow, fast = here.rule(there, "slow", rate=1 << 20), here.rule(there, "fast")
    assert slow.place.remote.repository("app").session.is_slowed
    assert not fast.place.remote.repository("app").session.is_slowed


# ── two that replicate each other ──


def test_two_that_push_to_each_other_end(here: Site, there: Site) -> None:
    back, forth = here.rule(there, deletes=True), there.rule(here, deletes=True)
    here.api.push_image("app", "1", b"one")
    there.api.push_image("app", "2", b"two")
    sync(back, forth)
    assert here.tags("app") == there.tags("app")
    assert sorted(here.tags("app")) == ["1", "2"]
    assert back.totals.tags["copied"] == forth.totals.tags["copied"] == 1
    assert here.api("DELETE", "app/manifests/1").status == 202
    sync(back, forth)
    assert list(there.tags("app")) == list(here.tags("app")) == ["2"]


def test_a_tag_that_moves_on_both_sides_at_once_settles(here: Site, there: Site) -> None:
    """Each brings the other its own, and would do so for ever."""
    from nacre.stores.replication import ReplicationQueue

    back, forth = here.rule(there), there.rule(here)
    back.place.queue._chance = lambda: 0.9
    forth.place.queue._chance = lambda: 0.0
    assert isinstance(back.queue, ReplicationQueue)
    sync(back, forth)
    here.api.push_image("app", "1", b"one")
    there.api.push_image("app", "1", b"two")
    for _ in range(40):
        list(back._look())
        list(forth._look())  # both know before one acts
        sync(back)
        sync(forth)
    back.queue.hurry()
    sync(back, forth)
    assert here.tags("app") == there.tags("app")


def test_rules_that_feed_each_other_end(here: Site, there: Site) -> None:
    """Each puts something before the name."""
    forth = here.rule(there, "forth", prefix="copies")
    back = here.rule(
        there, "back", direction="pull", repositories=("copies/*",), strip="copies", prefix="back"
    )
    here.api.push_image("app", "1")
    for _ in range(6):
        sync(forth, back)
        back.queue.want()
    assert here.state.catalog.repositories("", 10) == ["app", "back/app", "back/back/app"]


# ── faults ──


def test_a_target_that_is_down_is_tried_again(here: Site, fake: FakeRegistry) -> None:
    here.api.push_image("app", "1")
    rule = here.rule(fake)
    fake.on(
        "POST", "/v2/app/blobs", lambda x: x.body() is not None and x.reply(503, retry_after="120"), times=9
    )
    sync(rule)
    (row,) = rule.queue.unfinished(5)
    assert (row.tries, rule.is_due()) == (1, False)
    assert here.state.catalog.now() + 60 < row.again < here.state.catalog.now() + 121
    assert "is tried again later" in here.log.pop()


def test_what_waits_is_done_when_the_target_is_back(
    here: Site, sites: Sites, tmp_path: Path, api_of: Any
) -> None:
    """In the order in which it happened, all of it, and the log speaks of it once."""
    held = reserved_port()
    port = held.getsockname()[1]
    there = Site(tmp_path / "gone", api_of, port=port)
    with there.running:
        rule = here.rule(there)
        sync(rule)
    for tag in ("1", "2"):
        here.api.push_image("app", tag, tag.encode())
    for _ in range(3):
        rule.queue.hurry()
        sync(rule)
    first, second = rule.queue.unfinished(5)
    assert (first.reference, first.tries, second.tries) == ("1", 3, 0)
    assert first.again == second.again > 0
    assert len(here.log) == 1
    here.log.clear()
    here.api.push_image("app", "3", b"3")
    sync(rule)
    assert rule.queue.unfinished(5)[2].again == first.again
    back = Site(tmp_path / "gone", api_of, port=port)
    with held, back.running:
        rule.queue.want()
        sync(rule)
        assert back.tags("app") == here.tags("app")
        entries = back.state.activity.after(0, query=ActivityQuery(action="push"))
        assert [entry.reference for entry in entries] == ["1", "2", "3"]


def test_many_that_get_no_answer_make_the_rule_wait(here: Site, fake: FakeRegistry) -> None:
    """Nobody knocks a thousand times at a door behind which nobody is."""
    for number in range(12):
        here.api.push_image(f"app{number}", "1")
    rule = here.rule(fake)
    fake.on("HEAD", "/v2/", Exchange.cut, times=500)
    sync(rule)
    progress = rule.queue.progress
    assert progress.tries == 1
    assert progress.again > here.state.catalog.now()
    assert sum(row.tries for row in rule.queue.unfinished(20)) < 12
    here.log.clear()


def test_a_refusal_is_given_up_and_the_rest_goes_on(here: Site, fake: FakeRegistry) -> None:
    for tag in ("1", "2"):
        here.api.push_image("app", tag, tag.encode())
    rule = here.rule(fake)
    fake.on("PUT", "/v2/app/manifests/1", lambda x: x.body() is not None and x.reply(400), times=1)
    sync(rule)
    assert rule.queue.counts()[:3] == (0, 1, 1)
    assert "is given up" in here.log.pop()
    rule.queue.want()
    sync(rule)
    assert rule.queue.counts()[:3] == (0, 0, 2)


def test_a_full_target_gets_the_rest_when_it_has_room(here: Site, there: Site) -> None:
    from nacre.words.errors import DiskFull

    here.api.push_image("app", "1", b"x" * 5000)
    rule, room = here.rule(there), there.state.store.check_room

    def full() -> None:
        raise DiskFull("no space left")

    there.state.store.check_room = full  # type: ignore[method-assign]
    sync(rule)
    assert there.tags("app") == {}
    assert rule.queue.counts().waiting == 1
    there.state.store.check_room = room  # type: ignore[method-assign]
    here.log.clear()
    there.log.clear()
    rule.queue.hurry()
    sync(rule)
    assert there.tags("app") == here.tags("app")


def test_a_tag_that_moves_while_it_is_copied(here: Site, fake: FakeRegistry, make: SimpleNamespace) -> None:
    """The one that was begun arrives whole, then the other one."""
    here.api.push_image("app", "1", b"first")
    rule = here.rule(fake)

    def move(x: Exchange) -> bool:
        here.api.push_image("app", "1", b"second")
        return False

    fake.on("PUT", "/v2/app/manifests/1", move)
    sync(rule)
    put = [path for method, path, _ in fake.requests if method == "PUT" and path.endswith("/manifests/1")]
    assert len(put) == 2
    assert rule.queue.counts() == (0, 0, 1, 0.0)
    assert next(iter(rule.queue.brought("app"))).digest == here.tags("app")["1"]


def test_a_tag_that_is_deleted_while_it_is_copied(here: Site, there: Site, make: SimpleNamespace) -> None:
    """With its content, at once: what is on its way fails, and then there is nothing to do."""
    image = here.api.push_image("app", "1", b"first")
    rule = here.rule(there, deletes=True)
    bring = rule.way.bring

    def delete_first(row: Any, pace: Any) -> Any:
        rule.way.bring = bring  # type: ignore[method-assign]
        found = here.state.catalog.manifest(row.repository, row.reference)
        assert found
        assert here.api("DELETE", f"app/manifests/{image.digest}").status == 202
        for blob in (image.layer, image.config):
            assert here.api("DELETE", f"app/blobs/{make.digest(blob)}").status == 202
        return bring(row, pace)

    rule.way.bring = delete_first  # type: ignore[method-assign]
    sync(rule)
    assert there.tags("app") == {}
    assert rule.queue.counts() == (0, 0, 0, 0.0)


def test_a_liar_is_not_believed(here: Site, fake: FakeRegistry, make: SimpleNamespace) -> None:
    """A blob with other bytes, a manifest that is not what the tag said."""
    layer, config = b"layer" * 100, make.config(b"x")
    data = json.dumps(make.manifest(config, [layer])).encode()
    for blob in (layer, config):
        fake.add_blob("app", blob)
    fake.add_manifest("app", "1", data, OCI_MANIFEST)
    rule = here.rule(fake, direction="pull", repositories=("app",))
    fake.on("GET", make.digest(layer), lambda x: x.reply(200, b"other" * 100), times=1)
    sync(rule)
    assert here.tags("app") == {}
    assert "digest" in rule.queue.unfinished(1)[0].error
    here.log.clear()
    rule.queue.hurry()
    sync(rule)
    assert here.tags("app") == {"1": make.digest(data)}


def test_a_list_without_an_end_is_bounded(
    here: Site, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nacre.services.server.replication.pulling.MOST_TAGS", 50)
    names = [f"t{number}" for number in range(60)]
    answer = json.dumps({"name": "app", "tags": names}).encode()
    fake.on("GET", "/v2/app/tags/list", lambda x: x.reply(200, answer), times=5)
    rule = here.rule(fake, direction="pull", repositories=("app",))
    sync(rule)
    assert "more than 50 tags" in rule.queue.progress.error
    assert "waits" in here.log.pop()


def test_a_slow_one_is_broken_off() -> None:
    from nacre.services.server.replication.model import (
        ReplicationPace,
        ReplicationStopped,
        ReplicationTooSlow,
    )

    now = 0.0
    pace = ReplicationPace(100.0, 1000, lambda: now)
    passed = pace.meter()
    now = 59.0
    passed(1)
    now = 61.0
    passed(70_000)
    now = 90.0
    with pytest.raises(ReplicationTooSlow, match="slower than 1000"):
        passed(1)
    now = 101.0
    with pytest.raises(ReplicationTooSlow, match="longer than 100 seconds"):
        pace.check()
    pace.stop()
    with pytest.raises(ReplicationStopped):
        pace.check()


def test_docker_registry_as_target(
    here: Site, tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace
) -> None:
    """It deletes by digest alone, and not where another tag would lose its manifest."""
    for host in registry_process(tmp_path_factory.mktemp("docker")):
        there = SimpleNamespace(host=host)
        here.api.push_image("app", "1")
        here.api.push_image("app", "same")
        here.api.push_image("app", "2", b"two")
        push_index(here, "app", "multi", make)
        rule = here.rule(there, deletes=True, prefix="mirror")
        sync(rule)
        target = rule.place.remote.repository("mirror/app")
        assert sorted(target.tags()) == ["1", "2", "multi", "same"]
        for tag in ("1", "2"):
            assert here.api("DELETE", f"app/manifests/{tag}").status == 202
        sync(rule)
        assert sorted(target.tags()) == ["1", "multi", "same"]
        assert "another tag has the same one" in here.log.pop()
        back = here.rule(
            there, "back", direction="pull", repositories=("mirror/*",), strip="mirror", prefix="back"
        )
        sync(back)
        assert here.tags("back/app") == here.tags("app") | {"1": here.tags("app")["same"]}
