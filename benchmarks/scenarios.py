"""What is measured. A new scenario is a class here and a line in SCENARIOS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from .harness import Case, Scenario, Skip
from .peers import BASE, Docker, Nacre, Peer, Podman, busybox_tar

P = TypeVar("P", bound=Peer)


class Bench:
    """The peers, each started when the first scenario asks for it. `stack` ends them."""

    def __init__(self, scratch: Path, stack: ExitStack, nacre: str = "") -> None:
        self.scratch, self._stack, self._program = scratch, stack, nacre
        self.ready: list[Peer] = []

    def _with_base(self, peer: P) -> P:
        peer.load_base(busybox_tar())
        self.ready.append(peer)
        return peer

    @cached_property
    def nacre(self) -> Nacre:
        return self._with_base(Nacre(self.scratch, self._program))

    @cached_property
    def podman(self) -> Podman:
        return self._with_base(Podman(self.scratch))

    @cached_property
    def docker(self) -> Docker:
        return self._with_base(Docker(self.scratch, self._stack))

    @cached_property
    def buildah(self) -> Podman:
        """Its base image is podman's: they share their storage."""
        peer = Podman(self.scratch, "buildah")
        assert self.podman
        self.ready.append(peer)
        return peer

    def each(self, *names: str) -> Iterator[Peer | Case]:
        """Peers in this order; one that cannot be had is a case that says why."""
        for name in names:
            try:
                yield getattr(self, name)
            except Skip as reason:
                yield Case(name, (), skipped=str(reason))


class Run(Scenario):
    """`run --rm app true`, whole process."""

    def __init__(self, network: str) -> None:
        self.name = "run" if network == "none" else f"run-{network}"
        self.network = network
        self.question = f"run --rm --network {network} app true"

    def cases(self, bench: Bench) -> Iterator[Case]:
        for peer in bench.each("nacre", "docker", "podman"):
            if isinstance(peer, Case):
                yield peer
            else:
                words = [*peer.words, "run", "--rm", "--network", self.network, BASE, "true"]
                yield Case(peer.name, words, peer.env)


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


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario for scenario in (Run("none"), Run("host"), BuildNoChange())
}
