"""The C half of `sqlite3`, loaded without the Python modules that it does not need.

The package around it pulls in `datetime`, and it asks `functools` for one function, which pulls in
`collections` and seven more: 1.8 of the 2.7 ms that the C half takes, in every command. That function
is C itself, so for the moment of the import a module that has nothing else stands in for `functools`; not
where another thread could meet it.
"""

from __future__ import annotations

import sys
from _thread import _count as other_threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from typing import Any


def _load() -> Any:
    if "functools" in sys.modules or other_threads():
        import _sqlite3

        return _sqlite3
    sys.modules["functools"] = _functools()
    try:
        import _sqlite3
    finally:
        del sys.modules["functools"]
    return _sqlite3


def _functools() -> Any:
    from _functools import _lru_cache_wrapper  # type: ignore[import-not-found]

    def lru_cache(size: int) -> Callable[[Callable[..., Any]], Any]:
        return lambda function: _lru_cache_wrapper(function, size, False, tuple)

    module = type(sys)("functools")
    module.lru_cache = lru_cache  # type: ignore[attr-defined]
    return module


if not TYPE_CHECKING:
    try:
        sqlite3 = _load()
    except ImportError:  # another Python than CPython
        import sqlite3

__all__ = ["sqlite3"]
