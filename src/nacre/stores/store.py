"""A store: everything nacre keeps, under one folder."""

from __future__ import annotations

from .blobs import BlobStore
from .containers import ContainerStore
from .layers import LayerStore
from .leases import LeaseStore
from .refs import RefStore
from .steps import StepStore
from .trees import Trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Store:
    """One open store. Any number of threads and processes may share its folder."""

    root: str
    blobs: BlobStore
    layers: LayerStore
    trees: Trees
    refs: RefStore
    leases: LeaseStore
    steps: StepStore
    containers: ContainerStore

    @classmethod
    def open(
        cls, root: str, *, driver: str = "auto", create: bool = True, single: bool | None = None
    ) -> Self:
        """Open the store in the folder `root` (made 0700 if absent). The caller closes it; `with` works.

        `driver` auto or overlay. `single`: this user namespace has one id only (None: look it up).
        Raises StoreError (foreign folder, other owner, newer version, disk), NotFound when absent
        and not `create`.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of leases and of the database. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
