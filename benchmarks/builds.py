"""Builds: with nothing changed, and with a step that writes many files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .bench import Bench
from .harness import Case, Scenario
from .peers import BASE, Peer


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
            yield Case(peer.name, [*peer.words, *verb, *network, "-t", "bench-app", "."], peer.env, folder)


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
                    peer.name, [*peer.words, *_build(peer), "--no-cache", "-t", "many", "."], peer.env, folder
                )


def _build(peer: Peer) -> Sequence[str]:
    return ["build", "--network", "none"] if peer.name == "docker" else ["build"]


SCENARIOS: Sequence[Scenario] = (BuildNoChange(), BuildFiles())
