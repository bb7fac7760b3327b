"""What is measured. A new scenario is a class here, or in a module of its kind, and stands in SCENARIOS."""

from __future__ import annotations

from collections.abc import Iterator

from . import (
    builds,
    disk,
    growth,
    holding,
    largebuilds,
    lazyruns,
    networks,
    projects,
    replicas,
    serving,
    transfers,
    usernetworks,
    wires,
)
from .bench import Bench
from .harness import Case, Scenario
from .peers import BASE


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


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Run("none"),
        Run("host"),
        *networks.SCENARIOS,
        *usernetworks.SCENARIOS,
        *builds.SCENARIOS,
        *largebuilds.SCENARIOS,
        *projects.SCENARIOS,
        *transfers.SCENARIOS,
        *wires.SCENARIOS,
        *lazyruns.SCENARIOS,
        *disk.SCENARIOS,
        *growth.SCENARIOS,
        *serving.SCENARIOS,
        *holding.SCENARIOS,
        *replicas.SCENARIOS,
    )
}
