"""A database of a registry, opened when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ..stores.catalog import Catalog


class _Closable(Protocol):
    def close(self) -> None: ...


DatabaseT = TypeVar("DatabaseT", bound=_Closable)


class OpenedDatabase(Generic[DatabaseT]):
    """What `opener` gives; the end of `with` closes it, and it may be asked for again."""

    def __init__(self, opener: Callable[[], DatabaseT]) -> None:
        self._opener = opener
        self._kept: DatabaseT | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._kept:
            self._kept.close()
            self._kept = None

    @property
    def _opened(self) -> DatabaseT:
        if self._kept is None:
            self._kept = self._opener()
        return self._kept


class OpenedCatalog(OpenedDatabase["Catalog"]):
    """The catalog of the registry in `folder`. Raises Conflict where there is none, StoreError."""

    def __init__(self, folder: str) -> None:
        super().__init__(lambda: _catalog_of(folder))
        self._folder = folder

    @property
    def _catalog(self) -> Catalog:
        return self._opened


def _catalog_of(folder: str) -> Catalog:
    from ..stores.registry import catalog_of

    return catalog_of(folder)
