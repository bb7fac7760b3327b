"""How registries and other servers are reached: a value, and the client that is made of it.

Many commands want nothing but a setting, so what sends anything is loaded where a client is made.
"""

from __future__ import annotations

import os

from .. import __version__
from ..grammars.config import Settings
from ..grammars.config.schema import MAX_CONFIG, text_of
from ..ground.files import os_errors
from ..ground.linux import keep_freed_memory
from ..stores.paths import Paths
from ..words.errors import UsageError
from ..words.reference import DEFAULT_REGISTRY
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..grammars.wire.auth import Credentials
    from ..services.client import Client, Policy
    from ..services.client.logins import Logins
    from ..services.client.transport import Special, TransportLimits
    from .wiring import Config

_HUB = "registry-1.docker.io"


class NetworkSettings(Value):
    """How registries and other servers are reached. The defaults suit an anonymous user.

    `settings` are those of config.toml: mirrors, authorities, rates, retries. `insecure` names registries,
    `host[:port]`, that may lack TLS. Credentials come from `users`, pairs of a registry and its user, else
    from `NACRE_AUTH_…` among `variables`, else from `auth_files`, of which `login` writes to the first.
    Certificates come from `certificates`, pairs of a registry and a folder, else from a folder `HOST[:PORT]`
    in `certificate_folders`.
    `attempts` (0: as the settings say) and `delay` (seconds, 0: longer each time) are for what may pass.
    `docker_host` is where the daemon of `docker-daemon:` is.
    """

    settings: Settings = Settings()
    insecure: tuple[str, ...] = ()
    users: tuple[tuple[str, Credentials], ...] = ()
    variables: Mapping[str, str] | None = None
    auth_files: tuple[str, ...] = ()
    certificates: tuple[tuple[str, str], ...] = ()
    certificate_folders: tuple[str, ...] = ()
    attempts: int = 0
    delay: float = 0.0
    docker_host: str = ""


def fetched(
    client: Client, url: str, limit: int, form: Mapping[str, str] | None = None, bearer: str = ""
) -> bytes:
    """What is at a URL, at most `limit` bytes; with `form` that is posted. Raises NacreError."""
    from urllib.parse import urlencode

    from ..grammars.wire.links import shown
    from ..services.client.transport import Request

    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
    body = urlencode(form).encode() if form is not None else None
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    request = Request("GET" if body is None else "POST", url, headers, body)
    with client.http(url).open(request, shown(url)) as response:
        return response.read_all(limit, shown(url))


class Posting:
    """Tells others something: one request each, some seconds long. Its client is made at the first."""

    def __init__(self, config: Config, network: NetworkSettings) -> None:
        self._config, self._network = config, network
        self._client: Client | None = None

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, nearby: bool) -> int:
        """The status of the answer. Raises NacreError."""
        from ..services.client.transport import TransportLimits

        if self._client is None:
            self._client = client_of(self._config, self._network, TransportLimits(connect=5.0, stall=10.0))
        return self._client.post(url, headers, body, nearby=nearby)


def client_of(config: Config, network: NetworkSettings, limits: TransportLimits | None = None) -> Client:
    """A client, to be closed. The store keeps where uploads were broken off."""
    from ..services.client import Client, ClientConfig
    from ..services.client.uploadrecords import UploadFolder

    keep_freed_memory()
    told = ClientConfig(
        credentials=_lookup(network), proxies=proxies_of(config), settings=network.settings,
        insecure=network.insecure, policy=_policy(network), certificates=certificates_of(network),
        uploads=UploadFolder(Paths(os.path.abspath(config.root)).uploads),
        notice=lambda line: config.warn(f"WARNING! {line}"), user_agent=f"nacre/{__version__}", limits=limits,
    )  # fmt: skip
    return Client(told)


def logins_of(network: NetworkSettings) -> Logins:
    """Where credentials are kept."""
    from ..services.client.credentials import DockerConfig
    from ..services.client.logins import Logins

    return Logins([DockerConfig(path) for path in network.auth_files], network.variables or {})


def proxies_of(config: Config) -> dict[str, str]:
    """By their lower-case names; where both spellings are given the lower one counts, as in curl."""
    upper = {name.lower(): value for name, value in config.proxies if value}
    return upper | {name: value for name, value in config.proxies if name.islower() and value}


def _lookup(network: NetworkSettings) -> Callable[[str], Credentials | None]:
    """Who the user is: what is said of a registry counts for that registry alone."""
    given, usual = dict(network.users), logins_of(network).lookup
    if not given:
        return usual
    return lambda name: given[host] if (host := name.partition("/")[0]) in given else usual(name)


def _policy(network: NetworkSettings) -> Policy | None:
    if not network.attempts and not network.delay:
        return None
    from ..services.client import Policy

    attempts = network.attempts or network.settings.retries or Policy().attempts
    if not network.delay:
        return Policy(attempts=attempts)
    return Policy(attempts=attempts, base=network.delay, cap=network.delay, chance=lambda: 0.0)


def certificates_of(network: NetworkSettings) -> Callable[[str], Special]:
    """Raises UsageError for a folder that was named and has no certificates."""
    from ..services.client.certificates import Certificates, certificates_in

    usual = Certificates(network.certificate_folders).of
    given: dict[str, Special] = {}
    for registry, folder in network.certificates:
        found = certificates_in(folder)
        if found is None:
            raise UsageError(f"there are no certificates in {folder}")
        hosts = (registry, _HUB) if registry == DEFAULT_REGISTRY else (registry,)
        given |= dict.fromkeys(hosts, found)
    return lambda host: given.get(host) or usual(host)


def settings_in(path: str) -> Settings:
    """What a config.toml says. Raises UsageError with `file:line`, TooLarge, StoreError."""
    with os_errors(f"read {path}"), open(path, "rb") as file:
        data = file.read(MAX_CONFIG + 1)
    from ..grammars.config.toml import parse_config

    return parse_config(text_of(data, path), path)
