"""Mirrors: what is asked, what moves, what is remembered, what is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from copykit import Image, artifact, index_of, put_artifact, put_index
from fakeregistry import FakeRegistry

from nacre.grammars.config.mirrors import MirrorEntry, parse_mirrors
from nacre.images.arrows.mirroring import WEEK, Outcome, Rules, mirror_all
from nacre.images.places.layout import LayoutFolder
from nacre.services.client import Client
from nacre.stores.paths import Paths
from nacre.words.errors import UsageError
from nacre.words.oci import Platform
from nacre.words.reference import Reference


class Mirrors:
    """`fake` mirrored to `other` under `copy/app`; `now` is the time."""

    def __init__(self, client: Client, fake: FakeRegistry, other: FakeRegistry, folder: Path) -> None:
        self.client, self.fake, self.other, self.folder = client, fake, other, folder
        self.now = 1_000_000.0
        self.source = client.repository(Reference.parse(f"{fake.host}/app"))
        self.there = client.repository(Reference.parse(f"{other.host}/copy/app"))

    def __call__(
        self, *, target: str = "", rules: dict[str, Any] | None = None, **entry: Any
    ) -> dict[str, Outcome]:
        self.fake.requests.clear()
        self.other.requests.clear()
        told: list[Outcome] = []
        wanted = MirrorEntry(
            Reference.parse(f"{self.fake.host}/app"), target or f"{self.other.host}/copy/app", **entry
        )
        mirror_all(
            [wanted], self.client.repository, Paths(str(self.folder)),
            Rules(clock=lambda: self.now, **(rules or {})), told.append,
        )  # fmt: skip
        assert len({each.tag for each in told}) == len(told)
        return {each.tag: each for each in told}

    def asked(self, registry: FakeRegistry) -> list[str]:
        return [f"{verb} {path.partition('?')[0]}" for verb, path, _ in registry.requests]


@pytest.fixture
def mirror(client: Client, fake: FakeRegistry, other: FakeRegistry, tmp_path: Path) -> Mirrors:
    return Mirrors(client, fake, other, tmp_path)


def statuses(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {tag: each.status for tag, each in outcomes.items()}


def test_two_hundred_unchanged_tags_are_one_manifest_request_each(mirror: Mirrors) -> None:
    image = Image("one")
    image.put(mirror.source, "t0")
    for number in range(1, 200):
        mirror.source.put_manifest(f"t{number}", image.data, image.manifest.media_type)
    first = mirror()
    assert len(first) == 200
    assert all(("copy/app", f"t{number}") in mirror.other.manifests for number in range(200))
    moved = sum(map(len, image.layers)) + len(image.config)
    assert sum(each.moved for each in first.values()) == moved
    second = mirror()
    assert set(statuses(second).values()) == {"unchanged"}
    assert sorted(mirror.asked(mirror.fake)) == sorted(
        ["GET /v2/app/tags/list", *(f"HEAD /v2/app/manifests/t{number}" for number in range(200))]
    )
    assert mirror.asked(mirror.other) == ["GET /v2/copy/app/tags/list"]


def test_only_what_changed_moves(mirror: Mirrors) -> None:
    images = {f"v{n}": Image("base", f"top {n}") for n in range(4)}
    for tag, image in images.items():
        image.put(mirror.source, tag)
    mirror()
    newer = Image("base", "newer")
    newer.put(mirror.source, "v2")
    Image("base", "another").put(mirror.source, "v9")
    assert statuses(mirror()) == {
        "v0": "unchanged", "v1": "unchanged", "v2": "copied", "v3": "unchanged", "v9": "copied",
    }  # fmt: skip
    assert mirror.other.manifests["copy/app", "v2"][1] == newer.data
    assert not mirror.fake.sent("GET", newer.manifest.layers[0].digest)


def test_patterns(mirror: Mirrors) -> None:
    for tag in ("1.0", "1.1", "1.1-slim", "2.0", "latest"):
        Image(tag).put(mirror.source, tag)
    assert set(mirror(include=("1.*", "latest"), exclude=("*-slim",))) == {"1.0", "1.1", "latest"}


def test_all_platforms_unless_one_is_named(mirror: Mirrors) -> None:
    images = [Image(one, architecture=one) for one in ("amd64", "arm64")]
    put_index(mirror.source, "1", *images)
    mirror()
    assert mirror.other.manifests["copy/app", "1"][1] == index_of(*images)
    chosen = Platform("linux", "arm64")
    assert statuses(mirror(platform=chosen)) == {"1": "copied"}
    assert mirror.other.manifests["copy/app", "1"][1] == images[1].data
    assert statuses(mirror(platform=chosen)) == {"1": "unchanged"}
    assert len(mirror.fake.requests) == 2


def test_a_tag_that_is_gone_at_the_target_comes_back(mirror: Mirrors) -> None:
    for tag in ("a", "b"):
        Image(tag).put(mirror.source, tag)
    mirror()
    del mirror.other.manifests["copy/app", "a"]
    assert statuses(mirror()) == {"a": "copied", "b": "unchanged"}


def test_a_tag_moved_at_the_target_is_put_right(mirror: Mirrors) -> None:
    image, wrong = Image("right"), Image("wrong")
    image.put(mirror.source, "a")
    mirror()
    wrong.put(mirror.there, "a")
    assert statuses(mirror()) == {"a": "unchanged"}
    assert statuses(mirror(rules={"verify": True})) == {"a": "copied"}
    assert mirror.other.manifests["copy/app", "a"][1] == image.data
    wrong.put(mirror.there, "a")
    mirror.now += WEEK + 1
    assert statuses(mirror()) == {"a": "copied"}


def test_what_was_looked_at_is_believed_for_another_week(mirror: Mirrors) -> None:
    Image("x").put(mirror.source, "a")
    mirror()
    mirror.now += WEEK + 1
    assert statuses(mirror()) == {"a": "unchanged"}
    assert mirror.asked(mirror.other)[1:] == ["HEAD /v2/copy/app/manifests/a"]
    mirror()
    assert len(mirror.other.requests) == 1


def test_without_the_table_it_is_found_again(mirror: Mirrors) -> None:
    Image("x").put(mirror.source, "a")
    mirror()
    [table] = (mirror.folder / "mirrors").glob("*.json")
    for damage in (b"", b"{", b'{"target": 5, "tags": []}', b"[]"):
        table.write_bytes(damage)
        assert statuses(mirror()) == {"a": "unchanged"}
        assert mirror.asked(mirror.other)[-1] == "HEAD /v2/copy/app/manifests/a"


def test_one_failure_does_not_stop_the_others(mirror: Mirrors) -> None:
    for tag in ("a", "b", "c"):
        Image(tag).put(mirror.source, tag)
    mirror.fake.manifests["app", "b"] = ("application/json", b"no manifest")
    found = mirror()
    assert statuses(found) == {"a": "copied", "b": "failed", "c": "copied"}
    assert found["b"].error
    assert statuses(mirror()) == {"a": "unchanged", "b": "failed", "c": "unchanged"}


def test_a_source_that_is_not_there(mirror: Mirrors) -> None:
    [outcome] = mirror().values()
    assert (outcome.status, outcome.tag) == ("failed", "")


def test_nothing_is_deleted_unasked(mirror: Mirrors) -> None:
    for tag in ("a", "b"):
        Image(tag).put(mirror.source, tag)
    mirror()
    Image("mine").put(mirror.there, "mine")
    mirror.source.delete("b")
    assert statuses(mirror()) == {"a": "unchanged"}
    assert ("copy/app", "b") in mirror.other.manifests
    assert statuses(mirror(rules={"prune": True, "dry_run": True}, exclude=("mine",))) == {
        "a": "unchanged", "b": "pruned",
    }  # fmt: skip
    assert ("copy/app", "b") in mirror.other.manifests
    assert statuses(mirror(rules={"prune": True}, exclude=("mine",)))["b"] == "pruned"
    assert ("copy/app", "b") not in mirror.other.manifests
    assert ("copy/app", "mine") in mirror.other.manifests


def test_an_empty_source_prunes_nothing(mirror: Mirrors) -> None:
    Image("a").put(mirror.source, "a")
    mirror()
    outcomes = mirror(rules={"prune": True}, include=("[a-z]",), exclude=())
    assert statuses(outcomes) == {"a": "unchanged"}
    mirror.source.delete("a")
    Image("other").put(mirror.source, "OTHER")
    outcomes = mirror(rules={"prune": True}, include=("[a-z]",))
    assert statuses(outcomes) == {"": "failed"}
    assert ("copy/app", "a") in mirror.other.manifests


def test_pruning_where_only_digests_can_be_deleted(mirror: Mirrors) -> None:
    """As docker's registry: a manifest that another tag has too must stay."""
    shared = Image("shared")
    for tag in ("keep", "twin"):
        shared.put(mirror.source, tag)
    Image("lone").put(mirror.source, "lone")
    mirror()
    for tag in ("twin", "lone"):
        del mirror.fake.manifests["app", tag]
        mirror.other.on("DELETE", f"/manifests/{tag}", lambda x: x.reply(405), times=100)
    found = mirror(rules={"prune": True})
    assert statuses(found) == {"keep": "unchanged", "twin": "failed", "lone": "pruned"}
    assert "another " in found["twin"].error
    assert ("copy/app", "keep") in mirror.other.manifests
    assert ("copy/app", "lone") not in mirror.other.manifests


def test_a_dry_run_changes_nothing(mirror: Mirrors, tmp_path: Path) -> None:
    Image("a").put(mirror.source, "a")
    assert statuses(mirror(rules={"dry_run": True})) == {"a": "copied"}
    assert not [verb for verb, _, _ in mirror.other.requests if verb not in ("GET", "HEAD")]
    assert not (tmp_path / "mirrors").exists()
    assert statuses(mirror(target=f"oci:{tmp_path}/lay", rules={"dry_run": True})) == {"a": "copied"}
    assert not (tmp_path / "lay").exists()


def test_referrers_that_come_later(mirror: Mirrors) -> None:
    image = Image("x")
    image.put(mirror.source, "a")
    mirror(referrers=True)
    signature = put_artifact(mirror.source, artifact(image.descriptor))
    assert statuses(mirror(referrers=True)) == {"a": "copied"}
    assert [each.digest for each in mirror.there.referrers(image.descriptor.digest)] == [signature.digest]
    assert statuses(mirror(referrers=True)) == {"a": "unchanged"}


def test_tags_that_stand_in_for_an_api_are_no_images(mirror: Mirrors) -> None:
    """The target's are kept by who pushes there; the source may have an API, and so none of them."""
    image = Image("x")
    image.put(mirror.source, "a")
    put_artifact(mirror.source, artifact(image.descriptor))
    assert set(mirror(referrers=True, platform=Platform("linux", "amd64"))) == {"a"}
    stand_in = f"sha256-{image.descriptor.digest.hex}"
    assert ("copy/app", stand_in) in mirror.other.manifests
    del mirror.fake.manifests["app", stand_in]
    assert set(mirror(referrers=True, rules={"prune": True})) == {"a"}
    assert ("copy/app", stand_in) in mirror.other.manifests


def test_signatures_by_tags_that_come_later(mirror: Mirrors) -> None:
    image, signature = Image("x"), Image("signed")
    image.put(mirror.source, "a")
    mirror(referrers=True, include=("a",))
    tag = f"sha256-{image.descriptor.digest.hex}.sig"
    signature.put(mirror.source, tag)
    assert statuses(mirror(referrers=True, include=("a",))) == {"a": "copied"}
    assert mirror.other.manifests["copy/app", tag][1] == signature.data
    assert statuses(mirror(referrers=True, include=("a",))) == {"a": "unchanged"}


def test_into_a_folder(mirror: Mirrors, tmp_path: Path) -> None:
    images = {tag: Image(tag) for tag in ("a", "b")}
    for tag, image in images.items():
        image.put(mirror.source, tag)
    target = f"oci:{tmp_path}/lay"
    assert statuses(mirror(target=target)) == {"a": "copied", "b": "copied"}
    assert statuses(mirror(target=target)) == {"a": "unchanged", "b": "unchanged"}
    mirror.source.delete("b")
    assert statuses(mirror(target=target, rules={"prune": True})) == {"a": "unchanged", "b": "pruned"}
    folder = LayoutFolder(str(tmp_path / "lay"))
    assert list(folder.tags()) == ["a"]
    folder.close()


# ---- the list


def test_the_list() -> None:
    text = """
[[mirror]]
from = "debian"
to = "localhost:5000/debian"
include = ["book*"]
exclude = "*-slim"
platform = "linux/arm64"
referrers = true
[[mirror]]
from = "docker://ghcr.io/a/b"
to = "oci:folder"
"""
    first, second = parse_mirrors(text, "list")
    assert first.source.name == "docker.io/library/debian"
    assert first.target == "localhost:5000/debian"
    assert [tag for tag in ("bookworm", "bookworm-slim", "sid") if first.wants(tag)] == ["bookworm"]
    assert (first.platform, first.referrers) == (Platform("linux", "arm64"), True)
    assert (second.source.name, second.target, second.wants("any")) == ("ghcr.io/a/b", "oci:folder", True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 repositories"),
        ("mirror = 5", "list of tables"),
        ("[[mirrors]]", "unknown key 'mirrors'"),
        ('[[mirror]]\nfrom = "a"', "lacks 'to'"),
        ('[[mirror]]\nfrom = "a"\nto = "b"\nincldue = []', "did you mean include"),
        ('[[mirror]]\nfrom = "a:1"\nto = "b"', "without a tag"),
        ('[[mirror]]\nfrom = "a"\nto = "B"', "a repository like"),
        ('[[mirror]]\nfrom = "a"\nto = "b"\nplatform = "x"', "a platform like"),
        ('[[mirror]]\nfrom = "a"\nto = "b"\ninclude = [1]', "a list of patterns"),
        ("nonsense", "list:1"),
    ],
)
def test_a_list_that_is_wrong(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_mirrors(text, "list")
    assert said in caught.value.message + caught.value.hint


# ---- the command


@pytest.fixture
def listed(tmp_path: Path, client: Client, registry: str) -> Callable[[str], None]:
    """Tags of `registry/source`, and a list that mirrors them to `registry/copy`."""
    (tmp_path / "list.toml").write_text(f'[[mirror]]\nfrom = "{registry}/source"\nto = "{registry}/copy"\n')

    def put(tag: str) -> None:
        Image(tag).put(client.repository(Reference.parse(f"{registry}/source:{tag}")), tag)

    return put


def test_the_command(nacre: Any, listed: Callable[[str], None], registry: str) -> None:
    listed("a")
    listed("b")
    assert f"{registry}/copy:a: would be copied" in nacre("mirror", "--dry-run", "list.toml").lines
    done = nacre("mirror", "list.toml")
    assert sorted(done.lines) == [f"{registry}/copy:{tag}: copied" for tag in "ab"]
    assert "2 tags: 2 copied, 0 unchanged" in done.err
    listed("c")
    rows = [json.loads(line) for line in nacre("mirror", "--format", "json", "list.toml").lines]
    assert [(row["Tag"], row["Status"]) for row in rows] == [
        ("a", "unchanged"),
        ("b", "unchanged"),
        ("c", "copied"),
    ]
    assert nacre("mirror", "-q", "list.toml").out == ""
    events = nacre("mirror", "--progress", "json", "list.toml").lines
    assert json.loads(events[-1])["aux"]["Unchanged"] == 3
    nacre("images")  # the store can be made after the tables


def test_the_command_fails_at_the_end(nacre: Any, listed: Callable[[str], None], tmp_path: Path) -> None:
    listed("a")
    text = (tmp_path / "list.toml").read_text()
    done = nacre("mirror", "-", input=text.replace("/source", "/absent") + text, check=False)
    assert done.code == 1
    assert ":a: copied" in done.out
    assert "not found" in done.err
    assert "1 failed" in done.err
    missing = nacre("mirror", "absent.toml", check=False)
    assert (missing.code, "cannot read absent.toml" in missing.err) == (1, True)
