"""Builds: with nothing changed, and with a step that writes many files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from .bench import Bench
from .harness import Case, Scenario
from .peers import BASE, Nacre, Peer, busybox_tar


class BuildNoChange(Scenario):
    """`build` of what was built before."""

    name = "build-nochange"
    question = "build with nothing changed"
    dockerfile = f"""\
FROM {BASE} AS made
RUN echo made > /srv/made
FROM {BASE}
WORKDIR /srv
ENV GREETING=hello
COPY --from=made /srv/made .
COPY . .
RUN cat app.py made > /srv/all
CMD ["cat", "/srv/all"]
"""

    def cases(self, bench: Bench) -> Iterator[Case]:
        folder = bench.scratch / "build-nochange"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(self.dockerfile)
        for number in range(50):
            (folder / f"module{number}.py").write_text(f"NUMBER = {number}\n" * 100)
        (folder / "app.py").write_text("print('hello')\n")
        for peer in bench.each("nacre", "docker", "buildah"):
            if isinstance(peer, Case):
                yield peer
                continue
            verb = ["build", "--layers"] if peer.name == "buildah" else ["build"]
            network = ["--network", "none"] if peer.name == "docker" else []
            yield Case(
                peer.name,
                [*peer.words, *verb, *network, "-t", "bench-app", "."],
                peer.env,
                folder,
                daemon=peer.daemon,
            )


class BuildFiles(Scenario):
    """A step that writes many small files, committed as a layer, the cache not used."""

    name = "build-files"
    question = "build --no-cache: RUN that writes 20,000 small files"
    warm, most = 1, 7
    dockerfile = f"""\
FROM {BASE}
RUN mkdir /many && cd /many && for a in $(seq 200); do \\
    mkdir $a && for b in $(seq 100); do echo $a $b > $a/$b; done; done
"""

    def cases(self, bench: Bench) -> Iterator[Case]:
        folder = bench.fresh("build-files")
        (folder / "Dockerfile").write_text(self.dockerfile)
        for peer in bench.each("nacre", "docker", "buildah"):
            if isinstance(peer, Case):
                yield peer
            else:
                yield Case(
                    peer.name,
                    [*peer.words, *_build(peer), "--no-cache", "-t", "many", "."],
                    peer.env,
                    folder,
                    daemon=peer.daemon,
                )


class BuildCache(Scenario):
    """A build of 1.4 GB with nothing changed, its cache read from a registry and written to it."""

    name = "build-cache"
    question = "build of 1.4 GB with nothing changed, --cache-from and --cache-to a registry"
    dockerfile = f"""\
FROM {BASE} AS made
COPY file0 file1 /srv/
RUN ls /srv > /list
FROM {BASE}
COPY file2 /srv/
COPY file3 /srv/
COPY file4 /srv/
COPY --from=made /list /srv/
"""

    def cases(self, bench: Bench) -> Iterator[Case]:
        folder = bench.fresh(self.name)
        (folder / "Dockerfile").write_text(self.dockerfile)
        for number in range(5):
            with (folder / f"file{number}").open("wb") as file:
                for _ in range(280):
                    file.write(os.urandom(1_000_000))
        words = [*bench.nacre.words, "build", "-t", "bench-cache", "."]
        cache = f"type=registry,ref={bench.registry}/cache:main"
        both = ["--cache-from", cache, "--cache-to", f"{cache},mode=max"]
        yield Case("nacre", [*words, *both], bench.nacre.env, folder)
        yield Case("nacre, no caches", words, bench.nacre.env, folder)
        empty = bench.fresh("empty")

        def elsewhere(number: int) -> Sequence[str]:
            other = Nacre(empty / str(number), bench.nacre.words[0])
            other.load_base(busybox_tar())
            return [*other.words, *words[len(bench.nacre.words) :], "--cache-from", cache]

        yield Case("nacre, empty store", (), bench.nacre.env, folder, before=elsewhere)


def _build(peer: Peer) -> Sequence[str]:
    return ["build", "--network", "none"] if peer.name == "docker" else ["build"]


SCENARIOS: Sequence[Scenario] = (BuildNoChange(), BuildFiles(), BuildCache())
