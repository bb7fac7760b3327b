"""The registries behind a pull-through cache, spoken to by the client: what the server is handed."""

from __future__ import annotations

import secrets
from functools import lru_cache

from .. import __version__
from ..grammars.config.settings import UNSAID, RegistrySection, Settings
from ..words.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ..services.client import Client, Repository
    from ..services.client.uploadrecords import Kept
    from ..services.server.upstreams.model import BlobStream
    from ..words.digest import Digest
    from ..words.oci import Descriptor
    from ..words.upstreams import UpstreamRules
    from .wiring import Wiring

    Trace = Callable[[], Mapping[str, str]]

_KEPT = 1000
"""Repositories whose tokens are kept."""


class RegistryUpstream:
    """An `Upstream` with a client, and so with credentials, of its own."""

    def __init__(self, rules: UpstreamRules, engine: Wiring, agent: str, trace: Trace | None = None) -> None:
        self.rules, self.agent = rules, agent
        self._client = client_for(rules, engine, agent, trace=trace)
        self._repository = lru_cache(_KEPT)(self._open)

    def head(self, repository: str, tag: str) -> Descriptor | None:
        """As `Upstream.head` of the server."""
        return self._repository(repository).head(self._reference(repository, tag))

    def manifest(self, repository: str, reference: str) -> tuple[Descriptor, bytes]:
        """As `Upstream.manifest` of the server."""
        return self._repository(repository).document(reference, f"manifest {reference} of {repository}")

    def blob(self, repository: str, digest: Digest) -> AbstractContextManager[BlobStream]:
        """As `Upstream.blob` of the server."""
        return self._repository(repository).download(digest)

    def blob_size(self, repository: str, digest: Digest) -> int:
        """As `Upstream.blob_size` of the server."""
        return self._repository(repository).size(digest)

    def tags(self, repository: str) -> Iterable[str]:
        """As `Upstream.tags` of the server."""
        return self._repository(repository).tags()

    def referrers(self, repository: str, digest: Digest) -> Sequence[Descriptor]:
        """As `Upstream.referrers` of the server."""
        return self._repository(repository).referrers(digest)

    def close(self) -> None:
        """End what other threads wait for."""
        self._client.close()

    def _open(self, repository: str) -> Repository:
        return self._client.repository(self._reference(repository))

    def _reference(self, repository: str, tag: str = "") -> Reference:
        return Reference(self.rules.name, repository, tag)


def upstreams_of(
    rules: Iterable[UpstreamRules], engine: Wiring, trace: Trace | None = None
) -> list[RegistryUpstream]:
    """One for each, to be closed by the registry that gets them."""
    agent = f"nacre/{__version__} (registry {secrets.token_hex(8)})"
    return [RegistryUpstream(each, engine, agent, trace) for each in rules]


def client_for(
    rules: UpstreamRules, engine: Wiring, agent: str, *,
    rate: int = 0, uploads: Kept | None = None, trace: Trace | None = None,
) -> Client:  # fmt: skip
    """A client for one registry, with its credentials, and as usual but without mirrors. `rate`: most bytes
    per second; `uploads`: where it is kept how far uploads are; `trace`: headers of each request more.
    """
    from ..grammars.wire.auth import Credentials
    from ..services.client import Client, ClientConfig, Policy, TransportLimits
    from ..services.client.uploadrecords import NoUploadRecords
    from .network import certificates_of, proxies_of

    network = engine.network
    settings = _settings(rules, network.settings, rate)
    known = Credentials(rules.user, rules.password) if rules.user else None
    told = ClientConfig(
        credentials=lambda _name: known, proxies=proxies_of(engine.config), user_agent=agent,
        settings=settings, insecure=network.insecure,
        certificates=certificates_of(network), policy=Policy(attempts=3, base=0.2, patience=1.0),
        limits=TransportLimits(connect=10.0, stall=30.0, document=60.0), guarded=True,
        uploads=uploads or NoUploadRecords(), trace=trace,
    )  # fmt: skip
    return Client(told)


def _settings(rules: UpstreamRules, usual: Settings, rate: int) -> Settings:
    """How hosts are spoken to, as usual; but no mirrors: this registry may be one of them."""
    plain = rules.location.startswith("http://")
    location = rules.location.removeprefix("http://").removeprefix("https://").strip("/")
    host = (location or rules.name).partition("/")[0]
    own = {rules.name: RegistrySection(rules.name, location=location or UNSAID)}
    if plain:
        own[host] = own.get(host, RegistrySection(host)).replace(plain_http=True)
    if rate:
        own[host] = own.get(host, RegistrySection(host)).replace(rate=rate)
    sections = [each.replace(mirrors=UNSAID, location=UNSAID, blocked=UNSAID) for each in usual.sections]
    return Settings(sections=tuple(own.values())).over(usual.replace(sections=tuple(sections)))
