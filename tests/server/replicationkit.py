"""Registries that replicate each other, driven step by step, so that nothing has to be waited for."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nacre.engine.replication import remotes_of
from nacre.engine.wiring import Config, Wiring
from nacre.services.server import RunningServer
from nacre.services.server.replication import replicator
from nacre.services.server.replication.runner import Replicator
from nacre.services.server.repository import OwnRegistry
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST
from nacre.words.replication import ReplicationRule


class Site:
    """One registry that is served, and rules of its own for others."""

    def __init__(self, root: Path, api_of: Any, **options: Any) -> None:
        self.log: list[str] = []
        self.said: list[str] = []
        self.running = RunningServer(str(root), log=self.log.append, **options)
        self.api = api_of(self.running.url)
        self.state = self.running.registry.state
        self._rules: list[Replicator] = []
        self._store = str(root.parent / f"{root.name}-store")

    def close(self) -> None:
        """Let go of the other registries."""
        for rule in self._rules:
            rule.close()

    @property
    def host(self) -> str:
        return str(self.api.address)

    def rule(self, other: Any, name: str = "r", **fields: Any) -> Replicator:
        """A rule for another site, or for whatever has a `host`."""
        state, said = self.state, ReplicationRule(name, f"http://{other.host}", **fields)
        remote = remotes_of(Wiring(Config(self._store)))(said)
        made = replicator(said, OwnRegistry.of(state), remote, self.said.append, self.log.append)
        self._rules.append(made)
        return made

    def tags(self, name: str) -> dict[str, str]:
        """What each tag of a repository names."""
        catalog = self.state.catalog
        found = {tag: catalog.manifest(name, tag) for tag in catalog.tags(name, "", 1000)}
        return {tag: str(each.digest) for tag, each in found.items() if each}


def until(true: Callable[[], object], again: Callable[[], object] = lambda: None) -> None:
    """Wait for something real, at most a minute; `again` is done before each look but the first."""
    end = time.monotonic() + 60
    while not true():
        again()
        assert time.monotonic() < end
        threading.Event().wait(0.05)


def sync(*replicators: Replicator) -> None:
    """Until none has anything to do."""
    while due := [each for each in replicators if each.is_due()]:
        for each in due:
            for _ in each.steps():
                pass


def push_index(site: Site, name: str, tag: str, make: SimpleNamespace, **extra: Any) -> bytes:
    """An index of one image that has no tag."""
    child = site.api.push_image(name, f"{tag}-amd64", f"{name}{tag}".encode())
    assert site.api("DELETE", f"{name}/manifests/{tag}-amd64").status == 202
    data = json.dumps(make.index((child.data, OCI_MANIFEST)) | extra).encode()
    assert site.api.put_manifest(name, tag, data, OCI_INDEX).status == 201
    return data


def sent(site: Site) -> dict[str, int]:
    """Requests to a site so far, by method."""
    found: dict[str, int] = {}
    for (method, _, _), one in site.running.registry.metrics.counts.items():
        found[method] = found.get(method, 0) + one.count
    return found


@contextmanager
def served(nacre: Any, *words: str) -> Iterator[SimpleNamespace]:
    """`nacre registry serve`: its URL, its process, and what it logged when it has ended."""
    with tempfile.TemporaryFile() as log:
        process = nacre.start("registry", "serve", "--addr", "127.0.0.1:0", *words, stderr=log)
        line = process.stdout.readline().decode()
        found = SimpleNamespace(url=line.split()[2].removesuffix("/v2/,"), process=process, log="")
        try:
            yield found
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=60)
            log.seek(0)
            found.log = log.read().decode()
