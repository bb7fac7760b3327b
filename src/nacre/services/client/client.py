"""The client: one pool of connections, many registries."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from ...grammars.config import RegistryTarget, Settings
from ...grammars.wire import routes
from ...grammars.wire.auth import CATALOG_SCOPE, Credentials
from ...grammars.wire.links import origin, shown
from ...words.addresses import in_brackets
from ...words.errors import InvalidName, RegistryError, UsageError
from ...words.reference import DEFAULT_REGISTRY, Reference
from .auth import Authenticator, Lookup, anonymous
from .download import Download
from .hosts import HUB_HOST, HostEndpoint, Hosts, candidates
from .mirrors import Mirrored
from .proxies import DIRECT, proxy_for
from .ranges import DEFAULT_RANGES, Ranges
from .repository import Repository, listing
from .retry import Policy
from .search import INDEX_HOST, USUAL_LIMIT, SearchResults, search
from .session import DownloadSession, Session
from .throttle import Throttles
from .transport import Request, Response, Special, Transport, TransportLimits
from .uploadrecords import Kept, NoUploadRecords

_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Everything a client may be told; the defaults suit an anonymous user.

    `credentials` is asked once per repository, when a registry wants to know who is there.
    `insecure` names registries (`host[:port]`) that may be spoken to without TLS or with any
    certificate; loopback always may. `proxies` as for `Transport`. `settings` is what the user said of
    registries; it counts for limits, policy, ranges and authorities too, where these are not given.
    `certificates` gives for `host[:port]` what lies where other tools keep certificates. `uploads` keeps
    where uploads were broken off, `notice` hears of a mirror that is passed over. `guarded`: others get
    what a registry sends, so it may lead to other hosts over TLS only, and into a private network only from
    one. `trace` gives headers that each request has more.
    """

    credentials: Lookup = anonymous
    insecure: Collection[str] = ()
    ca_file: str = ""
    proxies: Mapping[str, str] = field(default_factory=dict)
    user_agent: str = "nacre"
    limits: TransportLimits | None = None
    policy: Policy | None = None
    clock: Callable[[], float] = time.monotonic
    settings: Settings = field(default_factory=Settings)
    certificates: Callable[[str], Special] = lambda _host: Special()
    uploads: Kept = field(default_factory=NoUploadRecords)
    notice: Callable[[str], object] = lambda _line: None
    ranges: Ranges | None = None
    guarded: bool = False
    trace: Callable[[], Mapping[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """The URL of a proxy ("" for none), files of authorities besides the system's, and pairs.

    A pair is a certificate of this side and its key.
    """

    proxy: str = ""
    authorities: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


class Client:
    """Speaks to registries. Safe to use from many threads; close it, or use it in `with`.

    `close` ends what other threads are doing with an error (Unreachable).
    """

    def __init__(self, config: ClientConfig | None = None) -> None:
        self.config = config = config or ClientConfig()
        settings = config.settings
        self._policy = config.policy or Policy(attempts=settings.retries or Policy().attempts)
        self._transport = Transport(
            config.limits or _limits(settings), usual=self._usual,
            ca_file=config.ca_file or settings.ca or "", proxies=_proxies(config.proxies, settings),
            clock=config.clock, special=self._special,
        )  # fmt: skip
        self._hosts = Hosts(self._transport, config.insecure, config.settings, guarded=config.guarded)
        self._throttles = Throttles(config.settings)
        self._ranges = config.ranges or Ranges(config.settings.ranges or DEFAULT_RANGES, config.clock)
        self._down: set[str] = set()

    def _usual(self) -> dict[str, str]:
        more = self.config.trace
        return {"User-Agent": self.config.user_agent, **(more() if more else {})}

    def repository(self, reference: Reference) -> Repository:
        """The repository that `reference` lies in, a `Source` and a `Sink`, mirrors asked first.

        No request is sent yet. Raises RegistryError for one that the settings block.
        """
        route = self.config.settings.route(reference.registry, reference.repository)
        origin = self._place(route.origin, self._policy, reference.name)
        if not route.mirrors:
            return origin
        brief = replace(self._policy, attempts=min(2, self._policy.attempts))
        mirrors = [(self._place(mirror, brief), mirror.asked) for mirror in route.mirrors]
        return Mirrored(origin, mirrors, self._down, self.config.notice)

    def _place(self, target: RegistryTarget, policy: Policy, where: str = "") -> Repository:
        session = self._session(target.host, f"{target.host}/{target.repository}", policy=policy)
        return Repository(
            session, target.repository, where=where, elsewhere=self._elsewhere, uploads=self.config.uploads,
            ranges=self._ranges,
        )  # fmt: skip

    def _elsewhere(self, name: str) -> tuple[str, str]:
        """The host and repository that a full name stands for, ("", "") for what may not be asked."""
        host, _, repository = name.partition("/")
        try:
            origin = self.config.settings.route(host, repository).origin
        except RegistryError:
            return "", ""
        return origin.host, origin.repository

    def _special(self, host: str) -> Special:
        """What counts for a host: first what the settings say, else what other tools were given."""
        name = DEFAULT_REGISTRY if host == HUB_HOST else host
        said, found = self.config.settings.host(name), self.config.certificates(name)
        return Special(
            (said.ca,) if said.ca else found.authorities,
            ((said.cert, said.key),) if said.cert else found.pairs,
            said.proxy,
        )

    def check(self, registry: str, credentials: Credentials | None = None) -> None:
        """Ask a registry whether it knows the user (those given, else those looked up).

        Raises Unauthorized, Unreachable, RegistryError.
        """
        lookup = self.config.credentials if credentials is None else lambda _name: credentials
        session = self._session(registry, registry, lookup)
        with session.suspecting():
            response = session.open(Request("GET", routes.base()), f"registry {registry}")
        session.checked(response, "/v2/").close()

    def session(self, url: str) -> Session:
        """What speaks to the registry at a URL, or of a name, with the user's credentials for it.

        Raises UsageError for a URL that names more than a host, or has no TLS where that is not allowed.
        """
        scheme, slashes, host = url.rpartition("://")
        host = host.removesuffix("/")
        if not _HOST.fullmatch(host) or (slashes and scheme not in ("https", "http")):
            raise UsageError(f"invalid URL of a registry {url[:200]!r}: expected https://HOST[:PORT]")
        if slashes:
            known = candidates(host, self.config.insecure, self.config.settings)
            endpoint = next((each for each in known if each.url.startswith(f"{scheme}:")), None)
            if endpoint is None:
                hint = f"if that is meant, set insecure = true for {host} in config.toml"
                raise UsageError(f"{host} is not spoken to by {scheme}", hint=hint)
            self._hosts.know(host, endpoint)
        return self._session(host, host)

    def catalog(self, registry: str) -> Iterator[str]:
        """The repositories of a registry, where it tells."""
        session = self._session(registry, registry)
        return listing(session, routes.catalog(), "repositories", "repositories", (CATALOG_SCOPE,))

    def search(self, registry: str, term: str, limit: int = USUAL_LIMIT) -> SearchResults:
        """Repositories whose name or description fits `term`, as the registry sees it."""
        host = INDEX_HOST if registry == DEFAULT_REGISTRY else registry
        return search(self._session(host, registry), term, limit, lambda: self.catalog(registry))

    def download(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Download]:
        """Any http or https URL, with no credentials but those in `headers`, redirects followed.

        The caller bounds and verifies what it reads. Raises InvalidName, NotFound, RegistryError.
        """
        session = self.http(url)

        def connect(more: dict[str, str]) -> Response:
            return session.open(Request("GET", url, {**(headers or {}), **more}), shown(url), ok=(200, 206))

        return closing(Download(connect, session.retry()))

    def http(self, url: str) -> Session:
        """What speaks to the host of any http or https URL, without credentials. Raises InvalidName."""
        try:
            scheme, host, port = origin(url)
        except ValueError:
            raise InvalidName(f"invalid URL {url[:200]!r}: expected http:// or https://") from None
        hosts = Hosts(self._transport)
        place = f"{in_brackets(host)}:{port}"
        hosts.know(host, HostEndpoint(f"{scheme}://{place}"))
        throttles = self._throttles.of(place)
        return DownloadSession(host, hosts, self._transport, Authenticator(host), self._policy, throttles)

    def post(self, url: str, headers: Mapping[str, str], body: bytes, *, nearby: bool = False) -> int:
        """Post once, with no credentials and no second try, follow nothing, and give the status.

        `nearby`: also to addresses that the internet does not lead to. What counts is the address that was
        connected to, whatever its name means a moment later. Raises InvalidName, RegistryError.
        """
        try:
            origin(url)
        except ValueError:
            raise InvalidName("invalid URL: expected http:// or https://") from None
        request = Request("POST", url, dict(headers), body)
        with self._transport.send(request, nearby=nearby, public=not nearby) as response:
            return response.status

    def connection(self, url: str) -> Connection:
        """How a program of its own is to reach a URL as this client would. Raises UsageError, ValueError."""
        special = self._special(urlsplit(url).netloc)
        proxies = _proxies(self.config.proxies, self.config.settings)
        common = self.config.ca_file or self.config.settings.ca or ""
        authorities = tuple(filter(None, (common, *special.authorities)))
        return Connection(proxy_for(url, proxies, special.proxy), authorities, tuple(special.pairs)[:1])

    def descriptors(self) -> list[int]:
        """Those of all connections, for a child that goes on with them; then `leave` them here."""
        return self._transport.descriptors()

    def leave(self) -> None:
        """Let go of all connections without a word to the other side; the next request makes new ones."""
        self._transport.forked()

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _session(
        self, registry: str, name: str, lookup: Lookup | None = None, policy: Policy | None = None
    ) -> Session:
        auth = Authenticator(name, lookup or self.config.credentials, self.config.clock)
        policy, throttles = policy or self._policy, self._throttles.of(registry)
        return Session(registry, self._hosts, self._transport, auth, policy, throttles)


def _limits(settings: Settings) -> TransportLimits:
    usual = TransportLimits()
    return TransportLimits(
        connect=settings.connect_timeout or usual.connect, stall=settings.stall_timeout or usual.stall
    )


def _proxies(usual: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """What the variables say, unless the settings say something else."""
    found = dict(usual)
    if settings.proxy is not None:
        proxy = "" if settings.proxy == DIRECT else settings.proxy
        found |= {"http_proxy": proxy, "https_proxy": proxy, "all_proxy": ""}
    if settings.no_proxy is not None:
        found["no_proxy"] = settings.no_proxy
    return found
