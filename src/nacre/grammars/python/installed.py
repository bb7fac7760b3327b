"""Whether the libraries are installed that only builds of Python projects need.

`packaging` (versions, markers, tags, pylock.toml) instead of rules of our own, `resolvelib` (pip's own
resolver), `installer` (wheels). They come with the extra `python`, and nothing else imports them.
"""

from __future__ import annotations

from importlib.util import find_spec

from ...words.errors import Unsupported

_NEEDED = ("packaging.pylock", "resolvelib", "installer")


def require() -> None:
    """Raises Unsupported when one of them is absent."""
    if missing := [name.partition(".")[0] for name in _NEEDED if not _is_there(name)]:
        raise Unsupported(
            f"to build a Python project without a Dockerfile, install {', '.join(missing)}",
            hint="pip install 'nacre-oci[python]'",
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
