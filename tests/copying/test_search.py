"""`nacre search`: docker's index protocol, catalogs, and answers that are neither."""

from __future__ import annotations

import json
from typing import Any

import pytest
from copykit import Image
from fakeregistry import FakeRegistry

from nacre.services.client import Client
from nacre.services.client.search import MAX_LOOKED
from nacre.words.errors import ContentError, InvalidName, NacreError, RegistryError
from nacre.words.reference import Reference, split_search

RESULTS = [
    {"name": "busybox", "description": "Base image.\nSmall.", "star_count": 3000, "is_official": True},
    {
        "name": "someone/busybox", "description": "x" * 60, "star_count": 2, "is_official": False,
        "is_automated": True,
    },
    {"name": "evil\x1b[31m", "description": "\x1b]0;title\x07", "star_count": "many"},
]  # fmt: skip


def index(fake: FakeRegistry, rows: object = RESULTS) -> None:
    body = json.dumps({"num_results": 3, "query": "busybox", "results": rows}).encode()
    fake.on("GET", "/v1/search", lambda x: x.reply(200, body, content_type="application/json"), times=100)


def test_the_index_protocol(client: Client, fake: FakeRegistry) -> None:
    index(fake)
    findings = client.search(fake.host, "busy box/&", 2)
    assert [each.name for each in findings.found] == ["busybox", "someone/busybox"]
    assert findings.found[0].description == "Base image. Small."
    assert [path for _, path, _ in fake.requests if "search" in path] == ["/v1/search?q=busy%20box%2F%26&n=2"]


def test_nothing_in_it_moves_the_terminal(client: Client, fake: FakeRegistry) -> None:
    index(fake)
    evil = client.search(fake.host, "x", 25).found[2]
    assert (evil.name + evil.description).isprintable()
    assert evil.stars == 0


def test_a_catalog_instead(client: Client, fake: FakeRegistry) -> None:
    for name in ("team/busybox", "team/other", "Busy"):
        fake.add_manifest(name.lower(), "1", Image("x").data, "application/json")
    catalog = {"repositories": ["busy", "team/busybox", "team/other"]}
    fake.on("GET", "/v2/_catalog", lambda x: x.reply(200, json.dumps(catalog).encode()), times=9)
    assert [each.name for each in client.search(fake.host, "BUSY", 25).found] == ["busy", "team/busybox"]
    assert [each.name for each in client.search(fake.host, "busy", 1).found] == ["busy"]


def test_a_long_catalog_is_bounded(client: Client, fake: FakeRegistry) -> None:
    def page(x: Any) -> bool:
        start = int(x.query.get("last", "n-1")[1:]) + 1
        names = [f"n{number}" for number in range(start, start + 5000)]
        link = f'</v2/_catalog?last={names[-1]}&n=5000>; rel="next"'
        return bool(x.reply(200, json.dumps({"repositories": names}).encode(), link=link))

    fake.on("GET", "/v2/_catalog", page, times=100)
    findings = client.search(fake.host, "nothing-like-it", 25)
    assert (findings.found, findings.whole) == ((), False)
    assert len(fake.sent("GET", "_catalog")) <= MAX_LOOKED // 5000 + 1


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"results": 5}', b'{"results": [5]}', b"[" * 100_000])
def test_an_answer_that_is_none(client: Client, fake: FakeRegistry, body: bytes) -> None:
    fake.on("GET", "/v1/search", lambda x: x.reply(200, body))
    with pytest.raises(ContentError):
        client.search(fake.host, "x", 25)


def test_a_page_for_people_is_no_answer(client: Client, fake: FakeRegistry) -> None:
    """Registries with a user interface show it for every path that they do not know: the catalog decides."""
    fake.on("GET", "/v1/search", lambda x: x.reply(200, b"<html>", content_type="text/html"))
    fake.on("GET", "/v2/_catalog", lambda x: x.reply(200, b'{"repositories": ["team/x"]}'))
    assert [found.name for found in client.search(fake.host, "x", 25).found] == ["team/x"]


def test_a_registry_with_neither(client: Client, fake: FakeRegistry) -> None:
    with pytest.raises(NacreError):
        client.search(fake.host, "x", 25)


def test_a_registry_that_wants_no_more(client: Client, fake: FakeRegistry) -> None:
    fake.on("GET", "/v1/search", lambda x: x.reply(429, retry_after="0"), times=100)
    with pytest.raises(RegistryError, match="too many requests"):
        client.search(fake.host, "x", 25)


@pytest.mark.parametrize(
    ("term", "registry", "words"),
    [
        ("busybox", "docker.io", "busybox"),
        ("team/app", "docker.io", "team/app"),
        ("docker.io/app", "docker.io", "app"),
        ("localhost:5000/team/app", "localhost:5000", "team/app"),
        ("registry.example/a", "registry.example", "a"),
    ],
)
def test_terms(term: str, registry: str, words: str) -> None:
    assert split_search(term) == (registry, words)


@pytest.mark.parametrize("term", ["", "localhost/", "a\x1bb", "bad..host./x"])
def test_what_is_no_term(term: str) -> None:
    with pytest.raises(InvalidName):
        split_search(term)


def test_the_command(nacre: Any, fake: FakeRegistry) -> None:
    index(fake, RESULTS[:2])
    table = nacre("search", f"{fake.host}/busybox").lines
    assert table[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert table[1].split()[0] == f"{fake.host}/busybox"
    assert table[1].endswith("3000      [OK]")
    assert "x" * 44 + "…" in table[2]
    assert "x" * 60 in nacre("search", "--no-trunc", f"{fake.host}/busybox").out
    only = nacre("search", "-f", "stars=10", "--format", "{{.Name}} {{.IsOfficial}}", f"{fake.host}/busybox")
    assert only.out == f"{fake.host}/busybox true\n"
    row = nacre("search", "-f", "is-official=false", "--format", "json", f"{fake.host}/busybox").json
    assert (row["StarCount"], row["IsAutomated"]) == ("2", "true")
    for words, said in [
        (["--limit", "101", "x"], "limit 101 is outside the range of [1, 100]"),
        (["-f", "stars=x", "x"], "invalid filter"),
        (["-f", "size=1", "x"], "invalid filter 'size'"),
    ]:
        done = nacre("search", *words, check=False)
        assert (done.code, said in done.err) == (1, True), done


def test_our_registry(nacre: Any, client: Client, registry: str) -> None:
    for name in ("alpha-app", "beta-app", "gamma"):
        Image("x").put(client.repository(Reference.parse(f"{registry}/{name}")), "1")
    assert nacre("search", "--format", "{{.Name}}", f"{registry}/beta").lines == [f"{registry}/beta-app"]
