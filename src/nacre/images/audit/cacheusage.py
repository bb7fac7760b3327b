"""The build cache one by one: what each part takes, when it was last used, and what has to go for a limit.

A part is a layer that steps have made (under one key or several), a step that made none, a cache mount, or a
table of files that were hashed. A layer that an image needs too takes nothing by itself.
"""

from __future__ import annotations

import json
import os

from ...stores import caches
from ...stores.blocks import Usage
from ...stores.marking import ManifestContents
from ...words.digest import Digest
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ...stores.steps import StepRecord
    from ...stores.store import Store

REGULAR, MOUNT, SOURCE = "regular", "exec.cachemount", "source.local"
_SAME = 60
"""Seconds within which parts count as used by one build: of these the last step goes first."""


class CacheRecord(Value):
    """A part of the build cache; `kind` as BuildKit names it. `stored` is bytes of disk.

    `items` are what a sweep knows it by. Times are seconds since 1970. `shared`: an image needs it too;
    `in_use`: a build works with it now.
    """

    id: str
    kind: str
    items: tuple[str, ...]
    stored: int
    created: float
    used: float
    shared: bool = False
    in_use: bool = False
    description: str = ""

    @property
    def reclaimable(self) -> int:
        """Bytes that come back without it."""
        return 0 if self.shared or self.in_use else self.stored


class CacheLimits(Value):
    """How much of the cache a prune leaves, in bytes; 0 says nothing.

    It is pruned down to `most`, and until the disk has `free`, but never below `reserved`.
    """

    most: int = 0
    reserved: int = 0
    free: int = 0

    def kept(self, total: int, free: int) -> int:
        """What may stay of `total` bytes on a disk with so many bytes free."""
        if not (self.most or self.reserved or self.free):
            return 0
        kept = self.most if self.most or not self.free else total
        if self.free > free:
            kept = min(kept, total - (self.free - free))
        return max(kept, self.reserved)


def cache_records(store: Store) -> list[CacheRecord]:
    """All parts, the last used first. Raises StoreError."""
    return sorted([*_layers(store), *_folders(store)], key=lambda one: (-one.used, one.id))


def _layers(store: Store) -> Iterator[CacheRecord]:
    usage = Usage()
    images = [str(one.digest) for one in store.refs.images()]
    used = {digest for row in store.containers.list() for digest in row.images}
    trees = ManifestContents(store).reached([*images, *used])[1]
    groups: dict[str, list[StepRecord]] = {}
    for step in store.steps.all():
        groups.setdefault(str(step.diff_id or step.key), []).append(step)
    for name, steps in groups.items():
        steps.sort(key=lambda step: (not step.parent, step.created, step.key))
        found = usage.inodes(store.trees.rows.folder(Digest(name))) if steps[0].diff_id else {}
        yield _record(steps, sum(found.values()), shared=name in trees)


def _record(steps: Sequence[StepRecord], stored: int, *, shared: bool) -> CacheRecord:
    first = steps[0]
    return CacheRecord(
        first.key, REGULAR, tuple(step.key for step in steps), stored, min(step.created for step in steps),
        max(step.used for step in steps), shared, False, described(first.inputs_json),
    )  # fmt: skip


def _folders(store: Store) -> Iterator[CacheRecord]:
    idle = set(caches.idle(store.root))
    mounts = caches.mounts(store.root)
    for path, stored in caches.sizes(store.root):
        name, is_mount = os.path.basename(path), path.startswith(mounts)
        try:
            moment = os.stat(path).st_mtime
        except FileNotFoundError:
            continue
        kind, text = (MOUNT, "cache mount") if is_mount else (SOURCE, "digests of files of a context")
        yield CacheRecord(name, kind, (name,), stored, moment, moment, False, path not in idle, text)


def described(inputs: str) -> str:
    """The instruction of a step in one line, by the record of its key; "" where that says nothing."""
    try:
        _, kind, fields = json.loads(inputs)
        if kind == "RunKey":
            return "RUN " + " ".join(fields["argv"][-1:] if len(fields["argv"]) == 3 else fields["argv"])
        if kind == "WorkdirKey":
            return f"WORKDIR {fields['path']}"
        return f"COPY to {fields['destination']}"
    except (ValueError, TypeError, KeyError):
        return ""


def doomed(
    records: Iterable[CacheRecord], limits: CacheLimits, free: int, picked: Callable[[CacheRecord], bool]
) -> list[CacheRecord]:
    """What is to go of what was picked, on a disk with so many bytes free; the least recently used first."""
    records = list(records)
    wanted = [one for one in records if picked(one) and not one.in_use]
    if limits == CacheLimits():
        return wanted
    total = sum(one.reclaimable for one in records)
    kept = limits.kept(total, free)
    gone = []
    for one in sorted(wanted, key=lambda one: (one.used // _SAME, -one.created, one.id)):
        if total <= kept:
            break
        if one.reclaimable:
            gone.append(one)
            total -= one.reclaimable
    return gone
