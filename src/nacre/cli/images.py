"""`nacre images`: list images."""

from __future__ import annotations

from ..words.reference import Reference
from .filters import Filters
from .options import Command, flag
from .output import LISTING, ago, human_size, listing, moment, short_id, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ..images.model.image import Image
    from ..images.model.rows import ImageRow
    from .context import Context
    from .options import Args

NONE = "<none>"
_COLUMNS = (
    ("REPOSITORY", "Repository"), ("TAG", "Tag"), ("IMAGE ID", "ID"), ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
)  # fmt: skip
_FILTERS = ("before", "dangling", "label", "reference", "since", "until")


def run(context: Context, args: Args) -> int:
    """List images, the newest first; one row for each name."""
    filters = Filters(args.filter, _FILTERS)
    patterns = [*args.positionals, *filters.get("reference")]
    wanted = _wanted(context, filters)
    found = context.engine.image_rows(digests=bool(args.digests or args.format))
    images = [image for image in found if wanted(image)]
    images.sort(key=lambda image: timestamp(image.created), reverse=True)
    rows = [row for image in images for row in _rows(image, patterns, args)]
    columns = list(_COLUMNS)
    if args.digests:
        columns.insert(2, ("DIGEST", "Digest"))
    listing(context, args, _once(rows) if args.quiet else rows, columns)
    return 0


def _wanted(context: Context, filters: Filters) -> Callable[[ImageRow], bool]:
    """A test for images. Raises UsageError, and NotFound for an image that is not there."""

    def made(text: str) -> float:
        return timestamp(context.engine.image(text).config.created)

    dangling = filters.flag("dangling")
    before = min([filters.until(), *map(made, filters.get("before"))])
    since = max(map(made, filters.get("since")), default=float("-inf"))

    def wanted(image: ImageRow) -> bool:
        tagged = any("@" not in name for name in image.names)
        if (dangling and tagged) or (dangling is False and not image.names):
            return False
        return since < timestamp(image.created) < before and filters.labels(image.labels)

    return wanted if filters.values else lambda _image: True


def _rows(image: ImageRow, patterns: list[str], args: Args) -> Iterator[dict[str, Any]]:
    names = [Reference.parse(name) for name in image.names]
    tagged = {name.name for name in names if name.tag}
    shown = [name for name in names if name.tag or name.name not in tagged]
    for name in shown:
        if not patterns or any(matches(pattern, name) for pattern in patterns):
            yield _row(image, name.familiar_name, name.tag or NONE, args)
    if not names and not patterns:
        yield _row(image, NONE, NONE, args)


def _row(image: ImageRow, repository: str, tag: str, args: Args) -> dict[str, Any]:
    """What is shown: a template may name more than the table has."""
    if args.quiet and not args.format:
        return {"ID": short_id(image.id, args.no_trunc)}
    size = human_size(image.size)
    shown = {
        "CreatedSince": ago(image.created),
        "ID": short_id(image.id, args.no_trunc),
        "Repository": repository,
        "Size": size,
        "Tag": tag,
    }
    if args.digests or args.format:
        shown["Digest"] = _digest(image, repository)
    if not args.format:
        return shown
    unknown = dict.fromkeys(("Containers", "SharedSize", "UniqueSize"), "N/A")
    whole = {**shown, **unknown, "CreatedAt": moment(image.created), "VirtualSize": size}
    return dict(sorted(whole.items()))


def _digest(image: ImageRow, repository: str) -> str:
    """By what the repository names the image, as far as it is known to have it."""
    if repository == NONE:
        return NONE
    known = [text for text in image.repo_digests if text.startswith(repository + "@")]
    return known[0].rpartition("@")[2] if known else str(image.digest)


def size_of(image: Image) -> int:
    """Bytes of content of all layers; layers whose files are not here count nothing."""
    trees = image.store.trees
    return sum(trees.rows.size(diff_id) for diff_id in image.diff_ids if trees.has(diff_id))


def matches(pattern: str, name: Reference) -> bool:
    """Whether a pattern fits the name, familiar or whole, with or without the tag; `*` stops at slashes.

    Raises UsageError. Source: moby daemon/images/image_list.go; Go's path.Match.
    """
    return any(_fits(pattern, text) for text in (name.familiar, name.familiar_name, str(name), name.name))


def _fits(pattern: str, text: str) -> bool:
    from ..grammars.dockerfile.glob import matcher

    tests, there = [matcher(part) for part in pattern.split("/")], text.split("/")
    return len(tests) == len(there) and all(test(part) for test, part in zip(tests, there, strict=True))


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each id."""
    return list({row["ID"]: row for row in rows}.values())


COMMAND = Command(
    arguments="[REPOSITORY[:TAG]]",
    run=run,
    options=(
        flag("-a, --all", "Show all images (has no effect: there are no intermediate images)"),
        flag("--digests", "Show digests"),
        *LISTING,
    ),
    details="Filters: before=IMAGE since=IMAGE dangling=true|false label=NAME[=VALUE] reference=PATTERN "
    "until=TIME",
)
