"""Passes exceptions from a forked child to its parent."""

from __future__ import annotations

import marshal
import sys

from ..words.errors import NacreError, SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pack(error: BaseException) -> bytes:
    """The error for `unpack`; one that is neither nacre's own nor an OSError becomes a SandboxError.

    `marshal` instead of `pickle`, because a child whose root is an image can import nothing any more.
    """
    if isinstance(error, OSError) and error.errno:
        return marshal.dumps(("", "", [error.errno, error.strerror or "", _plain(error.filename)], {}))
    if not isinstance(error, NacreError):
        error = SandboxError(f"{type(error).__name__}: {error}")
    kind, fields = type(error), {name: _plain(value) for name, value in error.__dict__.items()}
    return marshal.dumps((kind.__module__, kind.__qualname__, [*map(_plain, error.args)], fields))


def unpack(data: bytes) -> NacreError | OSError:
    """The error as it was raised. Only for what this program's own child has packed."""
    module, name, args, fields = marshal.loads(data)
    if not module:
        return OSError(*args)
    __import__(module)
    return _revive(getattr(sys.modules[module], name), args, fields)


def _plain(value: Any) -> Any:
    """Numbers and texts as they are, anything else as text."""
    try:
        marshal.dumps(value)
    except ValueError:
        return str(value)
    return value


def _revive(kind: type[NacreError], args: list[Any], fields: dict[str, Any]) -> NacreError:
    """Constructors differ between classes, so they are not called again."""
    error = kind.__new__(kind, *args)
    error.args = tuple(args)
    error.__dict__.update(fields)
    return error
