"""Errors that go from a forked child to its parent."""

from __future__ import annotations

import pickle

from ..words.errors import NacreError, SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pack(error: BaseException) -> bytes:
    """The error for `unpack`; one that is not nacre's own becomes a SandboxError with its name and text."""
    if isinstance(error, NacreError):
        return pickle.dumps((type(error), error.args, error.__dict__))
    text = f"{type(error).__name__}: {error}"
    return pickle.dumps((SandboxError, (text,), {"message": text, "hint": ""}))


def unpack(data: bytes) -> NacreError:
    """The error as it was raised. Only for what this program's own child has packed."""
    return _revive(*pickle.loads(data))


def _revive(kind: type[NacreError], args: tuple[Any, ...], state: dict[str, Any]) -> NacreError:
    """Constructors differ between classes, so they are not called again."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
