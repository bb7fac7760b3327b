"""Two replicas replicate to another registry, and one of them is killed in the middle.

Names are in PostgreSQL, content is in a bucket; the other registry is a plain one in a folder. A proxy in
front of it says what it is asked, and holds up the request at which the kill comes.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from replicationkit import served, until
from s3server import BadProxy, S3Server, serving_s3

from nacre.engine.replication import remotes_of
from nacre.engine.wiring import Config, Wiring
from nacre.services.server import RunningServer
from nacre.services.server.outgoing import Outgoing
from nacre.stores.activity import Activity
from nacre.stores.joblocks import JobLocks
from nacre.stores.replication import ReplicationQueue
from nacre.words.replication import ReplicationRule
from nacre.words.rules import MetadataRules, RegistryRules

RULE, JOB = "offsite", "replication offsite"
TAGS = ("1", "2", "3")
BLOB = r"POST /v2/copies/app/blobs/uploads/\?digest="
SECOND = r"/v2/copies/app/manifests/2 "
POINTS = {
    "a blob comes": (BLOB, False),
    "a blob has come": (BLOB, True),
    "a manifest comes": (f"PUT {SECOND}", False),
    "a manifest has come": (f"PUT {SECOND}", True),
}
"""Which request to the other registry the kill comes at, and whether that has done it by then."""


class Held:
    """Holds the first request up that matches, before or after the registry behind has done it."""

    def __init__(self, proxy: BadProxy, pattern: str, *, after: bool) -> None:
        self.reached, self.go_on, self.passed = (threading.Event() for _ in range(3))
        self._line = ""
        self._pattern, self._after = re.compile(pattern), after
        proxy.trouble, proxy.edit = self._before, self._behind

    def _before(self, line: str) -> None:
        if not self._after:
            self._hold(line)

    def _behind(self, line: str, answer: bytes) -> bytes:
        if self._after:
            self._hold(line)
        if line == self._line:
            self.passed.set()
        return answer

    def _hold(self, line: str) -> None:
        if self._pattern.match(line) and not self._line:
            self._line = line
            self.reached.set()
            self.go_on.wait(60)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from serving_s3(tmp_path_factory.mktemp("s3"))


@pytest.fixture
def there(tmp_path: Path, api_of: Any) -> Iterator[SimpleNamespace]:
    """The other registry, behind a proxy."""
    with RunningServer(str(tmp_path / "there")) as running:
        proxy = BadProxy(int(running.url.rpartition(":")[2]))
        yield SimpleNamespace(api=api_of(running.url), proxy=proxy, state=running.registry.state)
        proxy.close()


@pytest.fixture
def rules(s3: S3Server, postgresql: Any, there: SimpleNamespace) -> RegistryRules:
    rule = ReplicationRule(RULE, f"http://127.0.0.1:{there.proxy.port}", prefix="copies")
    metadata = MetadataRules(postgresql.new_database())
    return RegistryRules(metadata=metadata, storage=s3.rules(), replication=(rule,))


def configured(folder: Path, rules: RegistryRules) -> list[str]:
    """The words for a replica of its own process."""
    storage, file = rules.storage, folder / "registry.toml"
    names = ("url", "endpoint", "region", "access_key", "secret_key")
    kept = "\n".join(f'{name.replace("_", "-")} = "{getattr(storage, name)}"' for name in names)
    (rule,) = rules.replication
    file.write_text(
        f'[database]\nurl = "{rules.metadata.url}"\n[storage]\n{kept}\n'
        f'[replication.{RULE}]\nregistry = "{rule.registry}"\nprefix = "copies"\n'
    )
    return ["--config", str(file), "--root", str(folder / "killed")]


def sent(there: SimpleNamespace) -> Counter[str]:
    """How often each blob was sent to the end."""
    found = [re.match(r"(?:POST|PUT) \S+[?&]digest=([^ &]+)", line) for line in there.proxy.lines]
    return Counter(match[1] for match in found if match)


@pytest.mark.parametrize("point", POINTS)
def test_the_other_replica_goes_on(
    nacre: Any, rules: RegistryRules, there: SimpleNamespace, tmp_path: Path, api_of: Any, point: str
) -> None:
    pattern, after = POINTS[point]
    held = Held(there.proxy, pattern, after=after)
    remote = remotes_of(Wiring(Config(str(tmp_path / "survivor-store"))))
    survivor = RunningServer(str(tmp_path / "survivor"), rules=rules, outgoing=Outgoing(remote=remote))
    with served(nacre, *configured(tmp_path, rules)) as killed:
        api = api_of(killed.url)
        images = {tag: api.push_image("app", tag, os.urandom(50_000)) for tag in TAGS}
        assert held.reached.wait(60)
        with survivor:
            try:
                check_idle(survivor)
                os.kill(killed.process.pid, signal.SIGKILL)
                killed.process.wait(60)
            finally:
                held.go_on.set()
                assert held.passed.wait(60)
            take_over(survivor, there)
            check_all_is_there(survivor, there, api_of, images)
    activity = Activity(there.state.catalog)
    pushes = Counter(entry.reference for entry in activity.page() if entry.action == "push")
    assert pushes == dict.fromkeys(TAGS, 1)
    assert len(sent(there)) == 2 * len(TAGS)
    twice = [digest for digest, times in sent(there).items() if times > 1]
    assert len(twice) <= (0 if "manifest" in point else 2), "what was on its way at the kill, and no more"


def check_idle(survivor: RunningServer) -> None:
    """While the other replica lives, this one may not touch the rule, however often it asks."""
    state = survivor.registry.state
    locks = JobLocks(state.catalog, state.store.replica)
    for _ in range(5):
        survivor.registry.jobs.wake(JOB)
        assert locks.take(JOB, 0.0) > 0
    jobs = survivor.registry.replication
    until(lambda: jobs is not None and RULE in jobs.replicators)
    assert jobs is not None
    assert not jobs.replicators[RULE].totals.tags


def take_over(survivor: RunningServer, there: SimpleNamespace) -> None:
    """A minute later, in which nothing was heard of the one that was killed."""
    catalog, jobs = survivor.registry.state.catalog, survivor.registry.jobs
    catalog.change(lambda db: db.execute("UPDATE jobs SET until = 0.0 WHERE name = ?", (JOB,)))
    queue = ReplicationQueue(catalog, RULE)
    until(lambda: queue.counts()[:3] == (0, 0, len(TAGS)), lambda: jobs.wake(JOB))


def check_all_is_there(
    survivor: RunningServer, there: SimpleNamespace, api_of: Any, images: dict[str, Any]
) -> None:
    here = api_of(survivor.url)
    for tag, image in images.items():
        for api, name in ((here, "app"), (there.api, "copies/app")):
            assert api("GET", f"{name}/manifests/{tag}").body == image.data
    for image in images.values():
        manifest = there.api("GET", f"copies/app/manifests/{image.digest}").json
        for part in (manifest["config"], *manifest["layers"]):
            assert there.api("GET", f"copies/app/blobs/{part['digest']}").body in (image.config, image.layer)
    copied = Activity(survivor.registry.state.catalog).page()
    told = Counter(entry.reference for entry in copied if entry.action == "replicate")
    assert set(told) <= set(TAGS)
    assert max(told.values()) == 1
