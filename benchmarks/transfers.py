"""Pull until runnable, push, and the first start: what a user waits for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from .bench import Bench, case_of
from .harness import Case, Scenario, Skip
from .peers import ROOT, Peer, account


class Pull(Scenario):
    """`pull` of the big image; every peer has storage of its own in every round."""

    name = "pull"
    question = "pull 1.4 GB in 5 gzip layers into empty storage, until runnable"
    warm, most = 1, 7

    def cases(self, bench: Bench) -> Iterator[Case]:
        reference = bench.pushed_big
        folder = bench.fresh("pull")
        program = bench.nacre.words[0]
        yield Case("nacre", (), before=lambda n: [program, "--root", f"{folder}/nacre{n}", "pull", reference])
        yield _floor(bench, folder, reference)
        yield case_of("docker", lambda: self._docker(bench, reference))
        yield case_of("podman", lambda: _podman(bench, folder, reference, Case("podman", ())))

    def _docker(self, bench: Bench, reference: str) -> Case:
        assert bench.docker  # or skipped here
        return Case("docker", (), before=lambda _: [*bench.fresh_docker().words, "pull", reference])


class PullAsUser(Scenario):
    """The same as an ordinary user with a range of subordinate ids."""

    name = "pull-user"
    question = "pull 1.4 GB as an ordinary user into empty storage"
    warm, most = 1, 5
    user = "nacre-bench"

    def cases(self, bench: Bench) -> Iterator[Case]:
        reference = bench.pushed_big
        user = account(self.user)
        folder = bench.fresh("pull-user")
        shutil.chown(folder, user.pw_uid, user.pw_gid)
        env = {"HOME": str(folder), "USER": self.user, "XDG_RUNTIME_DIR": str(folder), "XDG_DATA_HOME": ""}
        program = bench.users_nacre(folder, user.pw_uid)
        yield Case(
            "nacre", (), env, folder, user.pw_uid,
            before=lambda n: [program, "--root", f"{folder}/nacre{n}", "pull", reference],
        )  # fmt: skip
        case = Case("podman", (), env, folder, user.pw_uid)
        yield case_of("podman", lambda: _podman(bench, folder, reference, case))


def _podman(bench: Bench, folder: Path, reference: str, case: Case) -> Case:
    case.env = {**bench.podman.env, **case.env}

    def fresh(number: int) -> Sequence[str]:
        place = f"{folder}/podman{number}"
        root = ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run"]
        return [*root, "pull", "--tls-verify=false", reference]

    case.before = fresh
    return case


def _floor(bench: Bench, folder: Path, reference: str) -> Case:
    host, _, rest = reference.partition("/")
    repository, _, tag = rest.partition(":")
    python = str(Path(bench.nacre.words[0]).with_name("python"))
    words = [python, str(ROOT / "benchmarks/floor.py"), host, repository, tag]
    return Case("the floor", (), before=lambda n: [*words, f"{folder}/floor{n}"])


class Push(Scenario):
    """`push` of the big image, compression included, to an empty registry."""

    warm, most = 0, 5

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self.name = f"push-{codec}"
        self.question = f"push 1.4 GB to an empty registry as {codec}, compression included"

    def cases(self, bench: Bench) -> Iterator[Case]:
        names = ["nacre", "docker", "podman"]
        for peer in bench.each(*names):
            yield peer if isinstance(peer, Case) else case_of(peer.name, lambda p=peer: self._case(bench, p))

    def _case(self, bench: Bench, peer: Peer) -> Case:
        if peer.name == "docker" and self.codec != "gzip":
            raise Skip("docker without containerd's store knows gzip only")
        local = bench.have_big(peer)

        def words(_number: int) -> Sequence[str]:
            target = f"{bench.fresh_registry()}/{peer.name}:1"
            peer.call("tag", local, target)
            return [*peer.words, "push", *self._flags(peer), target]

        return Case(peer.name, (), peer.env, before=words)

    def _flags(self, peer: Peer) -> Sequence[str]:
        if peer.name == "podman":
            return ["--tls-verify=false", "--compression-format", self.codec]
        return ["--compression", self.codec] if peer.name == "nacre" else []


class Copy(Scenario):
    """`copy` of the big image from one registry to another, empty one; nothing of it is in any storage.

    skopeo remembers in which repositories of a registry it saw a blob, and every case has a registry of its
    own in every round, so that nobody mounts what somebody else has brought.
    """

    name = "copy"
    question = "copy 1.4 GB in 5 gzip layers from one registry to another, empty one"
    warm, most = 1, 7

    def cases(self, bench: Bench) -> Iterator[Case]:
        source = bench.pushed_big
        for peer in bench.each("nacre", "skopeo"):
            yield peer if isinstance(peer, Case) else self._case(bench, peer, source)

    def _case(self, bench: Bench, peer: Peer, source: str) -> Case:
        def words(_number: int) -> Sequence[str]:
            target = f"{bench.fresh_registry()}/{peer.name}:1"
            if peer.name == "nacre":
                return [*peer.words, "copy", "-q", source, target]
            insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"]
            return [*peer.words, "copy", "-q", *insecure, f"docker://{source}", f"docker://{target}"]

        return Case(peer.name, (), peer.env, before=words)


class ColdRun(Scenario):
    """The first container after the page cache was emptied."""

    name = "run-cold"
    question = "run python3 -c 'import numpy' from the 1.4 GB image on a cold page cache"
    warm, most = 1, 9

    def cases(self, bench: Bench) -> Iterator[Case]:
        if os.geteuid():
            raise Skip("only root may empty the page cache")
        for peer in bench.each("nacre", "docker", "podman"):
            yield peer if isinstance(peer, Case) else case_of(peer.name, lambda p=peer: self._case(bench, p))

    def _case(self, bench: Bench, peer: Peer) -> Case:
        program = ["python3", "-c", "import numpy"]
        words = [*peer.words, "run", "--rm", "--network", "none", bench.have_big(peer), *program]
        return Case(peer.name, words, peer.env, before=_empty_caches)


def _empty_caches(_number: int) -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


SCENARIOS: Sequence[Scenario] = (Pull(), PullAsUser(), Push("gzip"), Push("zstd"), Copy(), ColdRun())
