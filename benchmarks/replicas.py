"""One and two replicas of a registry on PostgreSQL and S3 (versitygw).

On two processors the database, the object store and the client would share what one replica leaves, and a
second one could add nothing. So each replica gets a tenth of a processor (cgroups, cpu.cfs_quota_us), as if
it were a small machine of its own: then it is the replica that limits, and the others have the rest.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .adopter import cpu_of
from .bench import Bench
from .harness import Case, Scenario, Skip
from .peers import ROOT, newest, require
from .registries import NacreRegistry, Pusher, Server, await_answer, digest_of
from .serving import REPOSITORY, SMALL, content, free_port

_PERIOD, _QUOTA = 20_000, 2_000
_CPU = Path("/sys/fs/cgroup/cpu")
_KEYS = {"AWS_ACCESS_KEY_ID": "nacre", "AWS_SECRET_ACCESS_KEY": "of no use elsewhere"}
_PATIENCE = 60.0


class ObjectStore(Server):
    """versitygw with an empty bucket."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__("versitygw", folder, stack)
        self.words = [newest("versitygw")]
        (folder / "data/registry").mkdir(parents=True)
        port = free_port()
        names = {
            "ROOT_ACCESS_KEY": _KEYS["AWS_ACCESS_KEY_ID"],
            "ROOT_SECRET_KEY": _KEYS["AWS_SECRET_ACCESS_KEY"],
        }
        words = ["--quiet", "--port", f"127.0.0.1:{port}", "posix", str(folder / "data")]
        self.begin([*self.words, *words], "()", names)
        self.url = f"http://127.0.0.1:{port}"
        await_answer(self.url + "/")


class Database(Server):
    """PostgreSQL on a socket in a folder of its own, which survives no power cut."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__("postgres", folder, stack)
        require("initdb", "postgres")
        self.words = [newest("postgres")]
        owner: dict[str, Any] = {}
        if os.geteuid() == 0:  # it does not run as root
            account = pwd.getpwnam("nobody")
            os.chown(folder, account.pw_uid, account.pw_gid)
            owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
        words = [newest("initdb"), "-D", "data", "-U", "nacre", "-A", "trust", "-E", "UTF8", "--no-locale"]
        subprocess.run([*words, "--no-sync"], cwd=folder, check=True, stdout=subprocess.DEVNULL, **owner)
        settings = ("listen_addresses=", f"unix_socket_directories={folder}", "fsync=off")
        words = [*self.words, "-D", "data", *(word for setting in settings for word in ("-c", setting))]
        self.begin(words, "(ready) to accept connections", None, **owner)
        self.url = f"postgresql://nacre@/postgres?host={folder}"


def limited(server: Server, stack: ExitStack) -> None:
    """Let it have a tenth of a processor. Raises Skip."""
    group = _CPU / f"nacre-bench-{server.daemon}"
    try:
        group.mkdir()
        stack.callback(_remove, group, server.daemon)
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(_QUOTA))
        (group / "cgroup.procs").write_text(str(server.daemon))
    except OSError as error:
        raise Skip(f"cannot limit a process to a part of a processor: {error.strerror}") from None


def _remove(group: Path, process: int) -> None:
    (_CPU / "cgroup.procs").write_text(str(process))
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.01)
        else:
            return


class Replicas(Scenario):
    """The same requests to one replica and to two; where the CPU time went stands below."""

    unit = "requests"
    most = 5
    warm = 1
    steady = False

    def __init__(self, name: str, what: str, path: str) -> None:
        self.name, self._path = name, path
        self.question = f"GET of {what} from replicas of a tenth of a processor each, 64 connections"
        self._watched: list[Server] = []
        self._before: dict[str, float] = {}

    def cases(self, bench: Bench) -> Iterator[Case]:
        servers = bench.shared(started)
        self._watched = servers
        for title, used in (("one replica", servers[:1]), ("two replicas", servers[:2])):
            yield self._case(title, used)
        self._before = {server.name: cpu_of(server.daemon) for server in servers}

    def _case(self, title: str, used: Sequence[Server]) -> Case:
        urls = [server.url + self._path for server in used]
        words = [sys.executable, "-m", "benchmarks.load", "--requests", "2000", *urls]
        first, *others = (server.daemon for server in used)
        return Case(title, words, folder=ROOT, daemon=first, beside=others, count=2000)

    def notes(self) -> Iterator[str]:
        """CPU seconds of each process over all runs."""
        used = {s.name: cpu_of(s.daemon) - self._before[s.name] for s in self._watched}
        yield "cpu seconds in all: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in used.items())


def started(bench: Bench, stack: ExitStack) -> list[Server]:
    """Two replicas with an image, their database and their object store. Raises Skip."""
    database = Database(bench.fresh("postgres"), stack)
    store = ObjectStore(bench.fresh("versitygw"), stack)
    flags = ["--database", database.url, "--storage", "s3://registry/nacre", "--storage-endpoint", store.url]
    replicas = [
        NacreRegistry(
            bench.nacre.words[0], bench.fresh("replica"), stack, *flags, name=f"replica {number}",
            env=_KEYS | {"AWS_REGION": "us-east-1"},
        )
        for number in (1, 2)
    ]  # fmt: skip
    pusher = Pusher(replicas[0].url)
    pusher.image(REPOSITORY, "1", [content(SMALL)])
    pusher.close()
    for replica in replicas:
        limited(replica, stack)
    bench.ready += [database, store]
    return [*replicas, database, store]


SCENARIOS = (
    Replicas("registry-replicas-manifest", "a manifest by its tag", f"/v2/{REPOSITORY}/manifests/1"),
    Replicas(
        "registry-replicas-blob", "a blob of 4 KiB", f"/v2/{REPOSITORY}/blobs/{digest_of(content(SMALL))}"
    ),
)
