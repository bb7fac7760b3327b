"""Who each process of a container is, kept by the kernel with the process itself.

The ids of a process are inherited by what it forks and stay through an exec. So does a resource limit, and
one process may set that of another: the soft limit RLIMIT_LOCKS, which no kernel since 2.4.25 looks at,
is the number of a row in a table. So nothing is to be done when a process forks or ends.
Source: getrlimit(2), prlimit(2).
"""

from __future__ import annotations

import os
import resource
from errno import EAGAIN

from .credentials import ROOT, ProcessIds

LIMIT = 10
"""RLIMIT_LOCKS, which has no name in Python."""
_MOST = 1 << 16
_MARK = 1 << 60


class CredentialsTable:
    """Who somebody is, by thread number. Those of a process that nobody has changed are not known."""

    def __init__(self) -> None:
        self._rows: list[ProcessIds] = []
        self._numbers: dict[ProcessIds, int] = {}
        self._first = _MARK | int.from_bytes(os.urandom(3), "big") << 32

    def of(self, tid: int) -> ProcessIds | None:
        """Raises OSError for a process that has ended."""
        row = resource.prlimit(tid, LIMIT)[0] - self._first
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def keep(self, tid: int, credentials: ProcessIds) -> None:
        """For the whole process. Raises OSError; ValueError where its limit does not allow that."""
        hard = resource.prlimit(tid, LIMIT)[1]
        soft = hard if credentials == ROOT else self._first + self._number(credentials)
        resource.prlimit(tid, LIMIT, (soft, hard))

    def _number(self, credentials: ProcessIds) -> int:
        if credentials not in self._numbers:
            if len(self._rows) >= _MOST:
                raise OSError(EAGAIN, "too many users")
            self._numbers[credentials] = len(self._rows)
            self._rows.append(credentials)
        return self._numbers[credentials]
