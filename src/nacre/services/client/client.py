"""The client: one pool of connections, many registries."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...grammars.wire import routes
from ...grammars.wire.auth import CATALOG_SCOPE, Credentials
from ...grammars.wire.links import origin, shown
from ...words.errors import InvalidName
from ...words.reference import Reference
from .auth import Authenticator, Lookup, anonymous
from .download import Once
from .hosts import Endpoint, Hosts
from .repository import Repository, listing
from .retry import Policy
from .session import Session
from .transport import Limits, Transport

if TYPE_CHECKING:
    from ...images.source import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Everything a client may be told; the defaults suit an anonymous user.

    `credentials` is asked once per repository, when a registry wants to know who is there.
    `insecure` names registries (`host[:port]`) that may be spoken to without TLS or with any
    certificate; loopback always may. `proxies` as for `Transport`..
    """

    credentials: Lookup = anonymous
    insecure: Collection[str] = ()
    ca_file: str = ""
    proxies: Mapping[str, str] = field(default_factory=dict)
    user_agent: str = "nacre"
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    clock: Callable[[], float] = time.monotonic


class Client:
    """Speaks to registries. Safe to use from many threads; close it, or use it in `with`.

    `close` ends what other threads are doing with an error (Unreachable).
    """

    def __init__(self, config: ClientConfig | None = None) -> None:
        self.config = config = config or ClientConfig()
        self._transport = Transport(
            config.limits, user_agent=config.user_agent, ca_file=config.ca_file, proxies=config.proxies,
            clock=config.clock,
        )  # fmt: skip
        self._hosts = Hosts(self._transport, config.insecure)

    def repository(self, reference: Reference) -> Repository:
        """The repository that `reference` lies in, a `Source` and a `Sink`. No request is sent yet."""
        return Repository(self._session(reference.registry, reference.name), reference.repository)

    def check(self, registry: str, credentials: Credentials | None = None) -> None:
        """Ask a registry whether it knows the user (those given, else those looked up).

        Raises Unauthorized, Unreachable, RegistryError.
        """
        lookup = self.config.credentials if credentials is None else lambda _name: credentials
        session = self._session(registry, registry, lookup)
        session.open("GET", routes.base(), f"registry {registry}").close()

    def catalog(self, registry: str) -> Iterator[str]:
        """The repositories of a registry, where it tells."""
        session = self._session(registry, registry)
        return listing(session, routes.catalog(), "repositories", "repositories", (CATALOG_SCOPE,))

    def download(self, url: str) -> AbstractContextManager[Reader]:
        """Any http or https URL, without credentials, redirects followed; for `import` and `ADD`.

        The caller bounds and verifies what it reads. Raises InvalidName, NotFound, RegistryError.
        """
        try:
            scheme, host, port = origin(url)
        except ValueError:
            raise InvalidName(f"invalid URL {url[:200]!r}: expected http:// or https://") from None
        hosts = Hosts(self._transport)
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        hosts.know(host, Endpoint(f"{scheme}://{place}"))
        session = Session(host, hosts, self._transport, Authenticator(host), self.config.policy)
        return closing(Once(session.open("GET", url, shown(url))))

    def close(self) -> None:
        """Idempotent."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _session(self, registry: str, name: str, lookup: Lookup | None = None) -> Session:
        auth = Authenticator(name, lookup or self.config.credentials, self.config.clock)
        return Session(registry, self._hosts, self._transport, auth, self.config.policy)
