"""`nacre search`: repositories of a registry."""

from __future__ import annotations

from ..words.errors import UsageError
from .filters import Filters
from .options import Command, number, text
from .output import FILTER, NO_TRUNC, ellipsis, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..services.client.search import SearchResult
    from .context import Context
    from .options import Args

_COLUMNS = (
    ("NAME", "Name"),
    ("DESCRIPTION", "Description"),
    ("STARS", "StarCount"),
    ("OFFICIAL", "IsOfficial"),
)
_FILTERS = ("is-automated", "is-official", "stars")
_WIDTH = 45


def run(context: Context, args: Args) -> int:
    """List what the registry finds, in its order."""
    from ..words.reference import DEFAULT_REGISTRY, split_search

    if not 0 <= args.limit <= 100:
        raise UsageError(f"limit {args.limit} is outside the range of [1, 100]")
    filters = _Wanted(args.filter)
    registry = split_search(args.positionals[0])[0]
    findings = context.engine.registries.search(args.positionals[0], args.limit)
    prefix = "" if registry == DEFAULT_REGISTRY else f"{registry}/"
    rows = [_row(found, prefix, args) for found in findings if filters.wants(found)]
    listing(context, args, rows, _COLUMNS, key="Name")
    return 0


class _Wanted:
    """The filters, read once. Raises UsageError."""

    def __init__(self, written: list[str]) -> None:
        filters = Filters(written, _FILTERS)
        stars = filters.get("stars")
        if not all(value.isascii() and value.isdigit() and len(value) < 20 for value in stars):
            raise UsageError(f"invalid filter 'stars={stars[-1]}': expected a number")
        self._stars = max(map(int, stars), default=0)
        self._official, self._automated = filters.flag("is-official"), filters.flag("is-automated")

    def wants(self, found: SearchResult) -> bool:
        return (
            found.stars >= self._stars
            and self._official in (None, found.official)
            and self._automated in (None, found.automated)
        )


def _row(found: SearchResult, prefix: str, args: Args) -> dict[str, str]:
    table = args.format.startswith("table") or not args.format
    return {
        "Description": found.description if args.no_trunc else ellipsis(found.description, _WIDTH),
        "IsAutomated": _told(found.automated, table),
        "IsOfficial": _told(found.official, table),
        "Name": prefix + found.name,
        "StarCount": str(found.stars),
    }


def _told(holds: bool, table: bool) -> str:
    return ("[OK]" if holds else "") if table else str(holds).lower()


COMMAND = Command(
    "TERM",
    run=run,
    options=(
        FILTER,
        text("--format", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
        number("--limit", "Max number of search results (default 25)", default=0),
        NO_TRUNC,
    ),
    store=False,
    details="""\
TERM searches Docker Hub; HOST/TERM searches another registry, or its catalog if it has no search.
Filters: is-official=true|false is-automated=true|false stars=NUMBER""",
)
