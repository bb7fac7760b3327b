"""Where packages of Python come from, as the environment, pip.conf, netrc and Poetry of the user say."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..services.build import PackageIndexes
    from .context import Context

_MOST = 1 << 20


def packages(context: Context) -> PackageIndexes:
    """What they say. Raises UsageError for a file that cannot be read."""
    from ..grammars.python.pipconfig import config_files, indexes_of
    from ..services.build import PackageIndexes

    environment = dict(context.environment)
    texts = [(path, text) for path in config_files(environment, context.home) if (text := _read(path))]
    urls = indexes_of(environment, texts, context.warn)
    netrc = environment.get("NETRC") or os.path.join(context.home, ".netrc")
    keyring = _keyring(context, environment, texts)
    variables = _of_poetry(environment, context.home) | environment
    return PackageIndexes(tuple(urls), netrc, tuple(variables.items()), keyring=keyring)


def _of_poetry(environment: Mapping[str, str], home: str) -> dict[str, str]:
    """The users that Poetry keeps in a file, as variables."""
    above = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    folder = environment.get("POETRY_CONFIG_DIR") or os.path.join(above, "pypoetry")
    path = os.path.join(folder, "auth.toml")
    if not (text := _read(path)):
        return {}
    from ..grammars.python.pipconfig import poetry_logins

    return poetry_logins(text, path)


def _keyring(context: Context, environment: Mapping[str, str], texts: Sequence[tuple[str, str]]) -> str:
    """The program of pip's keyring provider `subprocess`, where it is installed and not switched off."""
    from ..grammars.python.pipconfig import keyring_provider

    provider = keyring_provider(environment, texts)
    if provider == "disabled":
        return ""
    found = _program("keyring", environment.get("PATH", os.defpath))
    if not found and provider == "subprocess":
        context.warn("WARNING: there is no program keyring in PATH to ask for passwords of indexes")
    return found


def _program(name: str, path: str) -> str:
    """A program in the folders of PATH, "" for none; as `shutil.which`, which loads three compressors."""
    found = (os.path.join(folder, name) for folder in path.split(os.pathsep))
    return next((each for each in found if os.path.isfile(each) and os.access(each, os.X_OK)), "")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MOST)
    except OSError:
        return ""
