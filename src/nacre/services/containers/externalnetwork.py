"""The network of a container that runs with `--network pasta` or `slirp4netns`: the program's own.

It is in no network of the store, has no names there, and joins none while it runs.
"""

from __future__ import annotations

from ...ground.files import unlink, write_atomic
from ...ground.network import external
from ...words.quickjson import dumps
from . import networkprogram
from .networking import Networking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...grammars.endpoint import NetworkEndpoint
    from ...ground.network.attachments import Attached
    from ...ground.network.external import ExternalNetwork


class ExternalNetworking(Networking):
    """As `Networking`, with another program as the way out and in."""

    _ports: dict[str, list[list[object]]]
    _network: ExternalNetwork | None  # type: ignore[assignment]

    def _made(self) -> Any:
        self._ports = {}
        return external.ExternalNetwork()

    def _taken_over(self, told: dict[str, Any], attached: list[Attached]) -> Any:
        self._ports = told["ports"]
        return external.ExternalNetwork.adopt(*told["held"])

    def describe(self) -> dict[str, Any]:  # noqa: D102
        return {**super().describe(), "ports": self._ports}

    def _join(self, endpoint: NetworkEndpoint) -> str:
        """The program has to bind the ports itself: what was claimed was free a moment ago."""
        self._asked = networkprogram.parsed(endpoint.network)
        ports = [(each.host, each.port, each.protocol, each.inside) for each in self._claims]
        for each in self._claims:
            each.close()
        self._claims = []
        self._started().start(self._folder, networkprogram.launch(self._asked, ports, self._servers_here()))
        for host, port, protocol, inside in networkprogram.published(self._asked, ports):
            self._ports.setdefault(f"{inside}/{protocol}", []).append([host, port])
        return endpoint.network

    def _started(self) -> ExternalNetwork:
        assert self._network
        return self._network

    def _servers_here(self) -> list[str]:
        """The name servers that a container can ask by itself."""
        return [each for each in self._all_servers() if not (each.startswith("127.") or each == "::1")]

    def _refresh(self) -> None:
        self._write_files()
        write_atomic(self._state, dumps(self._described()).encode())

    def _watch_others(self, fd: int = -1) -> None:
        """No rules of a firewall are in its way."""

    def _pass_on(self) -> None:
        """The program does that."""

    def _write_files(self) -> None:
        record, asked = self._record["asked"], self._asked
        addresses = [each for each in self._addresses() if each]
        subnet = asked.subnet
        own = record.get("Dns")
        servers = own or ([subnet.at(networkprogram.SERVER)] if subnet else self._servers_here())
        servers = servers or [networkprogram.FORWARDER]
        gateway = subnet.at(networkprogram.MACHINE) if subnet else next(iter(addresses), "127.0.0.1")
        self._put_files(addresses, gateway, servers, record.get("DnsOptions") or ())

    def _addresses(self) -> tuple[str, str]:
        return self._started().addresses()

    def _described(self) -> dict[str, Any]:
        four, six = self._addresses()
        subnet = self._asked.subnet
        shown = {
            "address": four, "prefix": (subnet.prefix if subnet else 32) if four else 0,
            "gateway": subnet.at(networkprogram.MACHINE) if subnet else "",
            "address6": six, "prefix6": 128 if six else 0, "gateway6": "", "mac": "",
        }  # fmt: skip
        return {"ports": self._ports, "endpoints": {self._asked.name: shown}}

    def close(self) -> None:
        """Nothing is left of it."""
        super().close()
        for name in (external.NAMESPACE, external.API):
            unlink(f"{self._folder}/{name}")
