"""`nacre builder du` and `prune`: the build cache one by one, and what is to go of it."""

from __future__ import annotations

import time

from ..words.errors import UsageError
from .filters import Filters
from .options import Command, flag, many, size, text
from .output import ago, human_size, listing, table
from .prune import agreed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..images.audit.cacheusage import CacheRecord
    from .context import Context
    from .options import Args

_KINDS = ("regular", "exec.cachemount", "source.local")
_ALLOWED = ("id", "inuse", "private", "shared", "type", "unused-for", "until")
_HEAD = ("ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED")


def _picked(written: Sequence[str]) -> Callable[[CacheRecord], bool]:
    """What the filters pick. Raises UsageError."""
    filters = Filters(written, _ALLOWED)
    before = filters.until()
    filters.one_of("type", _KINDS)
    shared, private, in_use = map(filters.flag, ("shared", "private", "inuse"))

    def picked(one: CacheRecord) -> bool:
        return (
            one.used < before
            and (not filters.get("id") or any(map(one.id.startswith, filters.get("id"))))
            and filters.allows("type", one.kind)
            and shared in (None, one.shared)
            and private in (None, not one.shared)
            and in_use in (None, one.in_use)
        )

    return picked


def _du(context: Context, args: Args) -> int:
    records = list(filter(_picked(args.filter), context.engine.system.cache()))
    if args.format:
        listing(context, args, [_fields(one) for one in records], ())
        return 0
    if args.verbose:
        _one_by_one(context, records)
    else:
        table(context, _HEAD, [_row(one) for one in records])
    shared = sum(one.stored for one in records if one.shared)
    total, reclaimable = (sum(map(of, records)) for of in (_stored, _reclaimable))
    rows = (("Shared", shared), ("Private", total - shared)) if shared else ()
    for name, value in (*rows, ("Reclaimable", reclaimable), ("Total", total)):
        context.print(f"{name + ':':<16}{human_size(value, 4)}")
    return 0


def _stored(one: CacheRecord) -> int:
    return one.stored


def _reclaimable(one: CacheRecord) -> int:
    return one.reclaimable


def _row(one: CacheRecord) -> list[str]:
    """As buildx: a star after the id of what changes, and after the size of what is shared."""
    mutable, shared = "*" * (one.kind != "regular"), "*" * one.shared
    free = "true" if _is_free(one) else "false"
    return [one.id[:25] + mutable, free, human_size(one.stored, 4) + shared, ago(one.used)]


def _is_free(one: CacheRecord) -> bool:
    return not (one.shared or one.in_use)


def _fields(one: CacheRecord) -> dict[str, str]:
    return {
        "ID": one.id, "CreatedAt": _moment(one.created), "Mutable": str(one.kind != "regular").lower(),
        "Reclaimable": str(_is_free(one)).lower(), "Shared": str(one.shared).lower(),
        "Size": human_size(one.stored, 4), "Description": one.description, "InUse": str(one.in_use).lower(),
        "LastUsedAt": _moment(one.used), "LastUsedSince": ago(one.used), "Type": one.kind,
    }  # fmt: skip


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(seconds))


def _one_by_one(context: Context, records: Sequence[CacheRecord]) -> None:
    names = {"CreatedAt": "Created at", "LastUsedSince": "Last used", "InUse": "In use"}
    for one in records:
        for key, value in _fields(one).items():
            if key != "LastUsedAt" and value:
                context.print(f"{names.get(key, key) + ':':<16}{' '.join(value.split())}")
        context.print()


def _prune(context: Context, args: Args) -> int:
    picked = _picked(args.filter)
    if args.keep_storage and args.reserved_space:
        raise UsageError("--keep-storage is the old name of --reserved-space: give only one of them")
    loss = "all build cache" if args.all else "unused build cache"
    conditions = [f"only parts that match: {', '.join(args.filter)}"] if args.filter else []
    if not args.force and not agreed(context, [loss, *conditions]):
        return 0
    gone, freed = context.engine.system.prune_cache(
        picked=picked, max_used_space=args.max_used_space,
        reserved_space=args.keep_storage or args.reserved_space, min_free_space=args.min_free_space,
    )  # fmt: skip
    if args.verbose:
        _one_by_one(context, gone)
    elif gone:
        names = [item for one in gone for item in one.items]
        context.print("\n".join(["Deleted build cache objects:", *names, ""]))
    context.print(f"Total reclaimed space: {human_size(freed.bytes, 4)}")
    return 0


_BUILDER = text("--builder", "Accepted: there is one build cache", hidden=True)
_FILTER = many(
    "--filter",
    "Only what matches: until=TIME, unused-for=TIME, id=ID, type=TYPE, shared=BOOL, private=BOOL, inuse=BOOL",
    type="filter",
)
_DETAILS = (
    "TIME is an age (24h, 10m) or a timestamp, and means the last use. TYPE is regular, exec.cachemount or "
    "source.local. What an image needs, too, cannot be reclaimed here."
)

DU = Command(
    arguments="",
    run=_du,
    options=(
        _FILTER,
        text("--format", "Format output: 'json' or a Go template"),
        flag("--verbose", "Show all fields of each part"),
        _BUILDER,
    ),
    details=_DETAILS,
)
PRUNE = Command(
    arguments="",
    run=_prune,
    options=(
        flag("-a, --all", "Accepted for compatibility: all unused build cache is always removed"),
        _FILTER,
        flag("-f, --force", "Do not prompt for confirmation"),
        size("--keep-storage", "Old name of --reserved-space"),
        size("--max-used-space", "Remove the least recently used until no more than this is left"),
        size("--min-free-space", "Remove the least recently used until the disk has so much free"),
        size("--reserved-space", "Never remove below this amount"),
        flag("--verbose", "Show all fields of what was removed"),
        _BUILDER,
    ),
    details=_DETAILS,
)
