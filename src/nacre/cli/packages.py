"""Where packages of Python come from, as the environment, pip.conf and netrc of the user say."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    return PackageIndexes(tuple(urls), netrc, tuple(environment.items()))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MOST)
    except OSError:
        return ""
