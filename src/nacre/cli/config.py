"""Where the settings of the registry client come from: our files, other tools' files, the environment.

Later ones say more:

    /etc/docker/daemon.json (an ordinary user: ~/.config/docker/daemon.json)     mirrors, insecure registries
    /etc/containers/registries.conf and registries.conf.d, then those of ~/.config/containers
    /etc/nacre/config.toml, then ~/.config/nacre/config.toml;  NACRE_CONFIG instead of both
    NACRE_… variables

Certificates lie where docker and podman look for them, in a folder `certs.d/HOST[:PORT]`.
"""

from __future__ import annotations

import os

from ..grammars.config import Settings, from_variables, parse_config, parse_daemon, parse_registries
from ..grammars.config.schema import MAX_CONFIG, text_of
from ..words.errors import StoreError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..services.client import ClientConfig
    from ..services.client.logins import Logins
    from ..services.client.transport import Special
    from .context import Context

    Parse = Callable[[str, str], Settings]

_MAX_FILES = 100


def client_config(context: Context) -> ClientConfig:
    """Everything that the registry client is told. Raises UsageError with `file:line`."""
    from .. import __version__
    from ..services.client import ClientConfig
    from ..services.client.kept import UploadFolder
    from ..stores.paths import Paths

    settings = load(context)
    return ClientConfig(
        credentials=logins(context).lookup, proxies=context.proxies(), settings=settings,
        insecure=context.insecure,
        certificates=Certificates(context).of, uploads=UploadFolder(Paths(context.root).uploads),
        notice=lambda line: context.warn(f"WARNING! {line}"), user_agent=f"nacre/{__version__}",
    )  # fmt: skip


def load(context: Context) -> Settings:
    """What all of it says together."""
    settings = Settings()
    for path, parse in (*_foreign(context), *((path, parse_config) for path in _own(context))):
        text = _read(path)
        if text is not None:
            settings = parse(text, path).over(settings)
    return _absolute(from_variables(context.environment).over(settings), context.home)


def logins(context: Context) -> Logins:
    """Who the user is: variables, REGISTRY_AUTH_FILE, else docker's file and those of podman."""
    from ..services.client.credentials import DockerConfig
    from ..services.client.logins import Logins

    get = context.environment.get
    if get("REGISTRY_AUTH_FILE"):
        return Logins([DockerConfig(get("REGISTRY_AUTH_FILE", ""))], context.environment)
    run = get("XDG_RUNTIME_DIR") or f"/run/containers/{context.uid}"
    run = f"{run}/containers" if get("XDG_RUNTIME_DIR") else run
    paths = (context.docker_config, f"{run}/auth.json", f"{_xdg(context)}/containers/auth.json")
    return Logins([DockerConfig(path) for path in paths], context.environment)


def _own(context: Context) -> tuple[str, ...]:
    named = context.environment.get("NACRE_CONFIG")
    if named:
        if not os.path.exists(named):
            raise UsageError(f"NACRE_CONFIG names {named}, which is not there")
        return (named,)
    return "/etc/nacre/config.toml", f"{_xdg(context)}/nacre/config.toml"


def _foreign(context: Context) -> Iterator[tuple[str, Parse]]:
    docker = "/etc/docker" if context.uid == 0 else f"{_xdg(context)}/docker"
    yield f"{docker}/daemon.json", parse_daemon
    named = context.environment.get("CONTAINERS_REGISTRIES_CONF")
    if named:
        yield named, parse_registries
        return
    for folder in ("/etc/containers", f"{_xdg(context)}/containers"):
        yield f"{folder}/registries.conf", parse_registries
        for name in _names(f"{folder}/registries.conf.d"):
            if name.endswith(".conf"):
                yield f"{folder}/registries.conf.d/{name}", parse_registries


def _xdg(context: Context) -> str:
    folder = context.environment.get("XDG_CONFIG_HOME", "")
    return folder if os.path.isabs(folder) else f"{context.home}/.config"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:_MAX_FILES]
    except OSError:
        return []


def _read(path: str) -> str | None:
    """The text of a file; None if there is none. Raises StoreError, TooLarge, UsageError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    return text_of(data, path)


def _absolute(settings: Settings, home: str) -> Settings:
    """With `~/` of file names replaced."""

    def full(path: str) -> str:
        return f"{home}/{path[2:]}" if path and path.startswith("~/") else path

    sections = tuple(
        section.replace(ca=full(section.ca), cert=full(section.cert), key=full(section.key))
        for section in settings.sections
    )
    return settings.replace(ca=full(settings.ca), sections=sections)


class Certificates:
    """`certs.d` of docker and containers: `*.crt` are authorities, `*.cert` with `*.key` is this side's."""

    def __init__(self, context: Context) -> None:
        """Each folder is looked at once for each host."""
        home = f"{_xdg(context)}"
        self._folders = (
            f"{home}/containers/certs.d", f"{home}/docker/certs.d",
            "/etc/containers/certs.d", "/etc/docker/certs.d",
        )  # fmt: skip
        self._known: dict[str, Special] = {}

    def of(self, host: str) -> Special:
        """What there is for `host[:port]`: the first folder that has anything."""
        if host not in self._known:
            found = (certificates_in(f"{folder}/{host}") for folder in self._folders if "/" not in host)
            self._known[host] = next((special for special in found if special is not None), _none())
        return self._known[host]


def _none() -> Special:
    from ..services.client.transport import Special

    return Special()


def certificates_in(folder: str) -> Special | None:
    """What a folder of certificates has; None if it has nothing."""
    from ..services.client.transport import Special

    names = _names(folder)
    authorities = tuple(f"{folder}/{name}" for name in names if name.endswith(".crt"))
    certs = [name for name in names if name.endswith(".cert")]
    pairs = tuple((f"{folder}/{name}", f"{folder}/{name.removesuffix('.cert')}.key") for name in certs)
    return Special(authorities, pairs) if names else None
