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

from ..grammars.config import Settings, from_variables
from ..grammars.config.schema import MAX_CONFIG, text_of
from ..words.errors import StoreError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..engine.network import NetworkSettings
    from .context import Context

    Parse = Callable[[str, str], Settings]

_MAX_FILES = 100
_SHARED = "/run/containers"


def network(context: Context) -> NetworkSettings:
    """Everything that the engine is told about registries. Raises UsageError with `file:line`."""
    from ..engine.network import NetworkSettings

    home = _xdg(context)
    return NetworkSettings(
        load(context), insecure=tuple(context.insecure), variables=context.environment,
        docker_host=context.environment.get("DOCKER_HOST", ""), auth_files=auth_files(context),
        certificate_folders=(
            f"{home}/containers/certs.d", f"{home}/docker/certs.d",
            "/etc/containers/certs.d", "/etc/docker/certs.d",
        ),
    )  # fmt: skip


def load(context: Context) -> Settings:
    """What all of it says together."""
    settings = Settings()
    for path, parse in (*_foreign(context), *((path, _nacre) for path in _own(context))):
        text = _read(path)
        if text is not None:
            settings = parse(text, path).over(settings)
    return _absolute(from_variables(context.environment).over(settings), context.home)


def auth_files(context: Context) -> tuple[str, ...]:
    """Where credentials are kept: REGISTRY_AUTH_FILE, else docker's file and those of podman."""
    get = context.environment.get
    if get("REGISTRY_AUTH_FILE"):
        return (get("REGISTRY_AUTH_FILE", ""),)
    return context.docker_config, *_at_run_time(context), f"{_xdg(context)}/containers/auth.json"


def _at_run_time(context: Context) -> tuple[str, ...]:
    """podman's file until the end of a session; none in a folder of root's, who shuts out all others."""
    run = context.environment.get("XDG_RUNTIME_DIR")
    if run:
        return (f"{run}/containers/auth.json",)
    return (f"{_SHARED}/{context.uid}/auth.json",) if os.access(_SHARED, os.X_OK) else ()


def _own(context: Context) -> tuple[str, ...]:
    named = context.environment.get("NACRE_CONFIG")
    if named:
        if not os.path.exists(named):
            raise UsageError(f"NACRE_CONFIG names {named}, which does not exist")
        return (named,)
    return "/etc/nacre/config.toml", f"{_xdg(context)}/nacre/config.toml"


def _nacre(text: str, path: str) -> Settings:
    from ..grammars.config.toml import parse_config

    return parse_config(text, path)


def _daemon(text: str, path: str) -> Settings:
    from ..grammars.config.foreign import parse_daemon

    return parse_daemon(text, path)


def _registries(text: str, path: str) -> Settings:
    """What registries.conf says; distributions install one in which nothing is said of a registry."""
    if not _names_registry(text):
        return Settings()
    from ..grammars.config.foreign import parse_registries

    return parse_registries(text, path)


def _names_registry(text: str) -> bool:
    """Whether there may be a table of registries: no alias, which may have any name, nor a comment."""
    is_top = True
    for line in map(str.lstrip, text.split("\n")):
        if line.startswith("[") or (is_top and not line.startswith("#")):
            is_top = is_top and not line.startswith("[")
            if "registry" in line:
                return True
    return any(mark in text for mark in ("\\", '"""', "'''"))  # other ways to write it, or to hide it


def _foreign(context: Context) -> Iterator[tuple[str, Parse]]:
    docker = "/etc/docker" if context.uid == 0 else f"{_xdg(context)}/docker"
    yield f"{docker}/daemon.json", _daemon
    named = context.environment.get("CONTAINERS_REGISTRIES_CONF")
    if named:
        yield named, _registries
        return
    for folder in ("/etc/containers", f"{_xdg(context)}/containers"):
        yield f"{folder}/registries.conf", _registries
        for name in _names(f"{folder}/registries.conf.d"):
            if name.endswith(".conf"):
                yield f"{folder}/registries.conf.d/{name}", _registries


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
