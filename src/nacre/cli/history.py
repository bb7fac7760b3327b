"""`nacre history`: the steps that made an image."""

from __future__ import annotations

from .options import Command, flag, platform_of, text
from .output import (
    FORMAT,
    NO_TRUNC,
    QUIET,
    ago,
    ellipsis,
    human_size,
    listing,
    local_rfc3339,
    short_id,
    timestamp,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..images.model.image import Image
    from .context import Context
    from .options import Args

MISSING = "<missing>"
_COLUMNS = (
    ("IMAGE", "ID"), ("CREATED", "CreatedSince"), ("CREATED BY", "CreatedBy"), ("SIZE", "Size"),
    ("COMMENT", "Comment"),
)  # fmt: skip
_WIDTH = 45
_EPOCH = 946684800.0
"""2000-01-01, the time before which docker's `history` shows none."""


def run(context: Context, args: Args) -> int:
    """List the steps, the newest first."""
    image = context.engine.image(args.positionals[0], platform_of(args))
    rows = [_row(step, size, args) for step, size in steps(image)]
    rows.reverse()
    if rows:
        rows[0]["ID"] = short_id(image.id, args.no_trunc)
    columns = _COLUMNS if args.human else _replaced("CreatedAt")
    listing(context, args, rows, columns)
    return 0


def steps(image: Image) -> list[tuple[dict[str, Any], int]]:
    """Entries of the history, oldest first, with the bytes of their layers; layers without entry last."""
    trees, diff_ids = image.store.trees, iter(image.diff_ids)
    found = []
    for step in image.config.history:
        diff_id = None if step.get("empty_layer") else next(diff_ids, None)
        found.append((dict(step), trees.rows.size(diff_id) if diff_id and trees.has(diff_id) else 0))
    return found + [({}, trees.rows.size(diff_id) if trees.has(diff_id) else 0) for diff_id in diff_ids]


def _row(step: dict[str, Any], size: int, args: Args) -> dict[str, Any]:
    created, command = _created(step), _text(step, "created_by").replace("\t", " ")
    return {
        "Comment": _text(step, "comment"),
        "CreatedAt": created or "N/A",
        "CreatedBy": command if args.no_trunc else ellipsis(command, _WIDTH),
        "CreatedSince": _since(_text(step, "created")) if args.human else created or "N/A",
        "ID": MISSING,
        "Size": human_size(size) if args.human else str(size),
    }


def _created(step: dict[str, Any]) -> str:
    seconds = timestamp(_text(step, "created"))
    return local_rfc3339(seconds) if seconds else ""


def _since(created: str) -> str:
    """docker shows no age of a step that is older than containers are: its time was set, not taken."""
    return ago(created) if timestamp(created) > _EPOCH else "N/A"


def _text(step: dict[str, Any], key: str) -> str:
    value = step.get(key)
    return value if isinstance(value, str) else ""


def _replaced(field: str) -> tuple[tuple[str, str], ...]:
    return tuple((heading, field if heading == "CREATED" else name) for heading, name in _COLUMNS)


COMMAND = Command(
    arguments="IMAGE",
    run=run,
    options=(
        FORMAT,
        flag("-H, --human", "Print sizes and dates in human readable format", default=True),
        NO_TRUNC,
        text("--platform", "Show history for the given platform"),
        QUIET,
    ),
)
