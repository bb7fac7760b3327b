"""Replication by processes that are served, configured, commanded and killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakeregistry import Exchange, FakeRegistry
from replicationkit import Site, served, sync, until

from nacre.services.server import RunningServer
from nacre.stores.joblocks import JobLocks
from nacre.words.rules import RegistryRules


@pytest.fixture
def there(tmp_path: Path, api_of: Any) -> Iterator[Any]:
    with RunningServer(str(tmp_path / "there")) as running:
        yield api_of(running.url)


def counted(nacre: Any, words: list[str]) -> dict[str, tuple[int, int, int]]:
    """What waits, was given up, and is done, by rule."""
    rows = map(json.loads, nacre("registry", "replication", "ls", *words, "--format", "json").lines)
    return {row["Name"]: (row["Waiting"], row["Failed"], row["Done"]) for row in rows}


def configured(tmp_path: Path, registry: str, more: str = "") -> list[str]:
    """The words for a registry with a rule for another one."""
    file = tmp_path / "registry.toml"
    file.write_text(
        f'[replication.offsite]\nregistry = "http://{registry}"\nprefix = "copies"\ndeletes = true\n{more}'
    )
    return ["--config", str(file), "--root", str(tmp_path / "here")]


def test_by_configuration_and_by_command(nacre: Any, tmp_path: Path, there: Any, api_of: Any) -> None:
    """Push to one, find it at the other; a rule that comes and goes while the registry is served."""
    pytest.importorskip("jinja2")
    words = configured(tmp_path, there.address)
    with served(nacre, *words) as here:
        api = api_of(here.url)
        image = api.push_image("app", "1")
        until(lambda: there("HEAD", "copies/app/manifests/1").status == 200)
        added = nacre(
            "registry", "replication", "add", *words, "--registry", f"http://{there.address}", "--direction",
            "pull", "--repository", "copies/app", "--strip", "copies", "--prefix", "back", "more",
        )  # fmt: skip
        assert added.lines == ["more"]
        until(lambda: api("HEAD", "back/app/manifests/1").status == 200)
        until(lambda: there("HEAD", "copies/back/app/manifests/1").status == 200)
        nacre("registry", "replication", "rm", *words, "more")
        said = nacre("registry", "replication", "run", *words, "offsite")
        assert said.out == "offsite: the registry is served: it compares everything now\n"
        metrics = api("GET", "/metrics").body.decode()
        until(lambda: api("GET", "/-/storage").status == 200)
        page = api("GET", "/-/storage").body.decode()
        assert f"<td>offsite</td><td>to {there.address}</td>" in page
        until(lambda: counted(nacre, words) == {"offsite": (0, 0, 2)})
    assert 'nacre_replication_tags_total{rule="offsite",result="copied"}' in metrics
    assert f"{image.digest}" in nacre("registry", "audit", *words[2:], "--action", "replicate").out
    assert "replication offsite: copied app:1" in here.log
    assert "Traceback" not in here.log


def test_what_is_killed_goes_on(nacre: Any, tmp_path: Path, api_of: Any) -> None:
    """kill -9 when one layer is there and the other is on its way: the first is not sent again."""
    fake = FakeRegistry()
    words = configured(tmp_path, fake.host)
    killed: list[int] = []

    def kill(x: Exchange) -> bool:
        os.kill(here.process.pid, signal.SIGKILL)
        here.process.wait(60)
        killed.append(1)
        return x.cut()

    try:
        fake.on("PUT", "/v2/copies/app/manifests/1", kill)
        with served(nacre, *words) as here:
            api_of(here.url).push_image("app", "1", b"x" * 200_000)
            until(lambda: bool(killed))
        before = len(fake.sent("PUT", "/blobs/")) + len(fake.sent("PATCH"))
        with served(nacre, *words) as here:
            until(lambda: any(path.endswith("/manifests/1") for path in puts(fake)[1:]))
            until(
                lambda: '"Done":1' in nacre("registry", "replication", "ls", *words, "--format", "json").out
            )
        assert len(fake.sent("PUT", "/blobs/")) + len(fake.sent("PATCH")) == before
    finally:
        fake.close()


def puts(fake: FakeRegistry) -> list[str]:
    return [path for method, path, _ in fake.requests if method == "PUT" and "/manifests/" in path]


def test_run_where_nobody_serves(nacre: Any, tmp_path: Path, there: Any, api_of: Any) -> None:
    """A dry run tells and does nothing; a run does it, and says by its exit code what is left."""
    words = configured(tmp_path, there.address)
    with RunningServer(str(tmp_path / "here")) as running:
        image = api_of(running.url).push_image("app", "1")
        api_of(running.url).push_image("app", "2", b"two")
    said = nacre("registry", "replication", "run", *words, "--dry-run", "offsite").out
    assert f"offsite: would copy app:1 ({image.digest})\n" in said
    assert said.endswith("offsite: 2 to copy, 0 unchanged\n")
    assert there("HEAD", "copies/app/manifests/1").status == 404
    said = nacre("registry", "replication", "run", *words, "offsite").out
    assert said.endswith("offsite: 2 done, 0 waiting, 0 failed\n")
    assert there("HEAD", "copies/app/manifests/1").status == 200
    assert nacre("registry", "replication", "run", *words, "--dry-run", "offsite").out == (
        "offsite: 0 to copy, 2 unchanged\n"
    )
    failing = configured(tmp_path, "127.0.0.1:9", "timeout = 60\n")
    failed = nacre("registry", "replication", "run", *failing, "offsite", check=False)
    assert failed.code == 1
    assert failed.out.endswith("offsite: 0 done, 2 waiting, 0 failed\n")
    status = nacre("registry", "replication", "status", *failing, "offsite")
    assert "127.0.0.1:9" in status.out
    missing = nacre("registry", "replication", "run", *words[2:], "nowhere", check=False)
    assert missing.code == 1
    assert "no rule of replication nowhere" in missing.err
    assert "--config" in missing.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[replication.a]\nregistry = "x"\nspeed = 1\n', "3:1: unknown key 'speed'"),
        ('[replication.a]\nregistry = "x"\nrate = "fast"\n', "3:1: rate is 'fast', expected a number"),
        ('[replication.a]\ndirection = "push"\n', "1:1: [replication.\"NAME\"] needs registry"),
        ('\n[replication.a]\nregistry = "x"\nprefix = "a/"\n', "2:1: replication a: invalid namespace"),
        ('[replication.a]\nregistry = "x"\ndirection = "both"\n', "3:1: direction is 'both', expected"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(nacre: Any, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    failed = nacre("registry", "serve", "--check-config", "--config", str(file), check=False)
    assert failed.code == 1
    assert f"wrong.toml:{said}" in failed.err


def test_what_is_configured_is_shown_without_the_password(nacre: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden\n")
    words = configured(tmp_path, "x", 'user = "me"\npassword-file = "secret"\n')
    said = nacre("registry", "serve", "--check-config", *words[:2]).out
    assert 'user = "me"' in said
    assert "hidden" not in said


def test_one_of_two_replicas_does_the_work(tmp_path: Path, there: Any, api_of: Any) -> None:
    """The other one has its turn when the first is gone."""
    site = Site(tmp_path / "here", api_of, rules=RegistryRules())
    with site.running:
        site.api.push_image("app", "1")
        rule = site.rule(SimpleNamespace(host=there.address))
        one, two = (JobLocks(site.state.catalog, name) for name in ("one", "two"))
        assert one.take(rule.place.author, 0.0) == 0.0
        assert two.take(rule.place.author, 0.0) > 0
        steps = rule.steps()
        next(steps)
        steps.close()
        one.end(rule.place.author, done=False)
        assert two.take(rule.place.author, 0.0) == 0.0
        sync(rule)
        site.close()
    assert there("HEAD", "app/manifests/1").status == 200
