"""What the handlers of one registry share: its storage, its threads and its rules."""

from __future__ import annotations

from contextlib import closing

from ...stores.activity import Activity
from ...stores.catalog import UploadLimits
from ...stores.garbage import GarbageCollector, Mentions
from ...stores.joblocks import JobLocks
from ...words.rules import RateRules, RegistryRules
from .cache import ContentCache
from .journal import Journal
from .rates import Rates
from .sessions import UploadSessions
from .work import THREADS_AWAY, Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from ...stores.accounts.administration import Administration
    from ...stores.registry import RegistryStore

    T = TypeVar("T")


def _silent(line: str) -> None:
    pass


class RegistryState:
    """Content and catalog of `store`, and the uploads into it. `close` it, on the loop that used it."""

    def __init__(self, store: RegistryStore, rules: RegistryRules | None = None) -> None:
        self.store, self.rules = store, rules or RegistryRules()
        self.note: Callable[[str], object] = _silent
        """Takes a line for the operator, on the event loop."""
        self.limits = limits = self.rules.limits
        self.storage, self.catalog = store.storage, store.catalog
        self.catalog.keeps_removed = bool(self.rules.garbage.grace)
        self.mentions = Mentions()
        self.garbage = GarbageCollector(self.catalog, self.rules.garbage, self.mentions)
        self.activity = Activity(self.catalog)
        self.rates = Rates(self.rules.rates) if self.rules.rates != RateRules() else None
        self.job_locks = JobLocks(self.catalog, store.replica)
        self.work = Work(is_remote=self.catalog.is_remote)
        self.journal = Journal(self.catalog, self.work, self.rules.activity.pulls)
        self.transfers = Work(THREADS_AWAY) if self.storage.is_shared else self.work
        """The threads that read and write content: a slow network must not keep the catalog waiting."""
        self.cache = ContentCache(self.storage, self.transfers)
        most = UploadLimits(limits.uploads, limits.uploads_each, limits.upload_idle)
        self.sessions = UploadSessions(
            self.storage, self.catalog, self.transfers, limits=most, age=limits.upload_age
        )

    async def administer(self, user: str, function: Callable[[Administration], T]) -> T:
        """What `function` gives of the accounts, in a thread, in the name of `user`. Raises as it does."""

        def ask() -> T:
            with closing(self.store.administration(user)) as accounts:
                return function(accounts)

        return await self.work.run(ask)

    async def close(self) -> None:
        """Let go of everything, the store too; unfinished uploads can be resumed."""
        await self.sessions.close()
        await self.journal.close()
        self.work.close()
        self.transfers.close()
        self.store.close()
