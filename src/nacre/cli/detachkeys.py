"""The keys that leave a container alone: of `--detach-keys`, of docker's config.json, or ctrl-P ctrl-Q."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args

_USUAL = "ctrl-p,ctrl-q"


def detach_keys(context: Context, args: Args) -> bytes:
    """As the terminal sends them."""
    return _bytes(args.detach_keys or _configured(context) or _USUAL)


def _bytes(text: str) -> bytes:
    return bytes(_code(key) for key in text.split(","))


def _code(key: str) -> int:
    """The byte that a key sends. Source: moby term/ascii.go."""
    if key == "DEL":
        return 127
    return ord(key[-1].upper()) & 0x1F if key.startswith("ctrl-") else ord(key)


def _configured(context: Context) -> str:
    """`detachKeys` of docker's config.json."""
    from .values import detach_keys as read

    text = context.engine.docker_setting("detachKeys")
    try:
        return read(text)
    except ValueError as error:
        context.warn(f"WARNING: the detachKeys of {context.docker_config} are ignored: {error}")
        return ""
