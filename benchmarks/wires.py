"""Pulls over a line that is far away or metered."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

from .bench import Bench, case_of
from .harness import Case, Scenario, Skip, Weighed
from .lines import Line, mathis
from .peers import Peer

TRIP, LOSS = 0.03, 0.01
_MB = 1_000_000


class FarPull(Scenario):
    """`pull` where a round trip takes 30 ms and one packet of a hundred is lost."""

    name = "pull-far"
    question = "pull 24 MB in 4 gzip layers over 30 ms of round trip and 1 % loss into empty storage"
    warm, most = 0, 5

    def cases(self, bench: Bench) -> Iterator[Case]:
        name = self._pushed(bench)
        line = bench.line(bench.registry, TRIP, mathis(TRIP, LOSS))
        far, folder = f"{line.host}/{name}", bench.fresh("far")
        program = bench.nacre.words[0]
        yield Case("nacre", (), before=lambda n: [program, "--root", f"{folder}/nacre{n}", "pull", far])
        yield case_of("docker", lambda: self._docker(bench, far))
        yield case_of("podman", lambda: self._podman(bench, folder, far))

    def _pushed(self, bench: Bench) -> str:
        """Built layer by layer of what no codec makes smaller; the name without the registry."""
        folder, nacre = bench.fresh("far-context"), bench.nacre
        lines = ["FROM scratch"]
        for number, size in enumerate((12, 6, 4, 2)):
            (folder / f"part{number}").write_bytes(random.Random(number).randbytes(size * _MB))
            lines.append(f"COPY part{number} /")
        (folder / "Dockerfile").write_text("\n".join(lines))
        name = "bench-far:1"
        nacre.call("build", "-q", "-t", f"{bench.registry}/{name}", str(folder))
        nacre.call("push", "-q", f"{bench.registry}/{name}")
        return name

    def _docker(self, bench: Bench, far: str) -> Case:
        assert bench.docker  # or skipped here
        return Case("docker", (), before=lambda _: [*bench.fresh_docker().words, "pull", far])

    def _podman(self, bench: Bench, folder: Path, far: str) -> Case:
        def fresh(number: int) -> list[str]:
            place = f"{folder}/podman{number}"
            root = ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run"]
            return [*root, "pull", "--tls-verify=false", far]

        return Case("podman", (), bench.podman.env, before=fresh)


class NewVersion(Weighed):
    """What comes over the wire of a layer of 600 MB in which one file of 100 KB changed."""

    name = "new-version"
    question = "bytes fetched for a new version of a 600 MB layer in which one file of 100 KB changed"
    files, size = 6000, 100_000

    def weigh(self, bench: Bench) -> Iterator[tuple[str, int | str]]:
        """The first version was pulled before; nothing else is in the storage."""
        place = bench.fresh("new-version")
        self._push(bench, place)
        line = bench.line(bench.registry)
        folder = place / "pulled"
        folder.mkdir()
        yield "nacre, zstd:chunked", self._fetched(bench.nacre.at(folder / "nacre"), line, "chunked")
        for form in ("chunked", "gzip"):
            yield f"podman, {form}", self._podman(bench, folder / f"podman-{form}", line, form)
        try:
            yield "docker, gzip", self._fetched(bench.fresh_docker(), line, "gzip")
        except Skip as reason:
            yield "docker, gzip", str(reason)
        yield "nacre, gzip", self._fetched(bench.nacre.at(folder / "plain/nacre"), line, "gzip")

    def _push(self, bench: Bench, folder: Path) -> None:
        for version in (1, 2):
            self._tar(folder / "layer.tar", version)
            local = f"bench-layer:{version}"
            bench.nacre.call("import", str(folder / "layer.tar"), local)
            for form, codec in (("chunked", "zstd:chunked"), ("gzip", "gzip")):
                target = f"{bench.registry}/bench-{form}:{version}"
                bench.nacre.call("tag", local, target)
                bench.nacre.call("push", "-q", "--compression", codec, target)

    def _tar(self, path: Path, version: int) -> None:
        """Half of each file is noise, the other half repeats itself, as libraries do."""
        with tarfile.open(path, "w") as tar:
            for number in range(self.files):
                seed = -version if number == self.files // 2 else number
                noise = random.Random(seed).randbytes(self.size // 2)
                info = tarfile.TarInfo(f"usr/lib/part{number // 100}/file{number}")
                info.size = self.size
                tar.addfile(info, io.BytesIO(noise + noise[:500] * (self.size // 1000)))

    def _podman(self, bench: Bench, folder: Path, line: Line, form: str) -> int | str:
        """With what it has for partial images switched on."""
        try:
            peer = bench.podman.at(folder)
        except Skip as reason:
            return str(reason)
        config = folder / "storage.conf"
        config.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
            '[storage.options]\npull_options = {enable_partial_images = "true", use_hard_links = "false"}\n'
        )
        peer.env["CONTAINERS_STORAGE_CONF"] = str(config)
        peer.words = ["podman"]
        return self._fetched(peer, line, form, "--tls-verify=false")

    def _fetched(self, peer: Peer, line: Line, form: str, *flags: str) -> int | str:
        name = f"{line.host}/bench-{form}"
        try:
            peer.call("pull", *flags, f"{name}:1")
            before = line.down
            peer.call("pull", *flags, f"{name}:2")
        except Skip as reason:
            return str(reason)
        return line.down - before


SCENARIOS: tuple[Scenario, ...] = (FarPull(), NewVersion())
