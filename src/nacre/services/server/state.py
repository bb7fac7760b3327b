"""What the handlers of one registry share: its storage, its threads and its limits."""

from __future__ import annotations

from ...words.rules import RegistryRules
from ...words.value import Value
from .sessions import UploadSessions
from .work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.registry import RegistryStore


class RegistryLimits(Value):
    """What a client may ask for. Sizes in bytes, times in seconds."""

    blob: int = 1 << 40
    uploads: int = 1000
    upload_age: float = 24 * 3600.0
    patience: float = 60.0
    """A body of which nothing comes for so long is given up."""


class RegistryState:
    """Content and catalog of `store`, and the uploads into it. `close` it, on the loop that used it."""

    def __init__(
        self, store: RegistryStore, limits: RegistryLimits, rules: RegistryRules | None = None
    ) -> None:
        self._store, self.limits, self.rules = store, limits, rules or RegistryRules()
        self.blobs, self.catalog = store.blobs, store.catalog
        self.work = Work()
        self.sessions = UploadSessions(
            self.blobs, self.catalog, self.work, most=limits.uploads, age=limits.upload_age
        )

    async def close(self) -> None:
        """Let go of everything, the store too; unfinished uploads can be resumed."""
        await self.sessions.close()
        self.work.close()
        self._store.close()
