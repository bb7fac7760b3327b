"""`nacre explore` and `nacre tree`: where the bytes of an image are."""

from __future__ import annotations

from ..words.errors import UsageError
from .options import Command, number, text
from .output import ellipsis, human_size, inspect_one, short_id, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..images.audit.explore import Exploration
    from ..images.model.image import Image
    from .context import Context
    from .options import Args

_WIDTH = 50
_FORMAT = text("--format", "Format output: 'json' or a Go template")


def explore(context: Context, args: Args) -> int:
    """By layer and by folder, what is wasted, and what other images share."""
    if args.depth < 1 or args.top < 0:
        raise UsageError("--depth must be at least 1 and --top at least 0")
    image = context.engine.image(args.positionals[0])
    found = context.engine.explore(args.positionals[0])
    if args.format:
        inspect_one(context, document(image, found), args.format)
        return 0
    context.print(f"{short_id(image.id)}  {_summary(found)}")
    _layers(context, found)
    _folders(context, found, args.depth, args.top)
    _waste(context, found, args.top)
    if found.shares:
        context.print()
        rows = [(human_size(size), name) for name, size in found.shares[: args.top]]
        table(context, ("SHARED", "WITH IMAGE"), rows)
    return 0


def _summary(found: Exploration) -> str:
    count = len(found.layers)
    text = f"{human_size(found.size)} in {count} layer{'s' * (count != 1)}"
    if not found.wasted:
        return f"{text}, nothing wasted"
    copied = f", {human_size(found.copied)} of it to change owner or mode" if found.copied else ""
    return f"{text}, {human_size(found.wasted)} wasted{copied}"


def _folders(context: Context, found: Exploration, depth: int, top: int) -> None:
    rows = [
        (human_size(seen), human_size(lost), _path(path)) for path, seen, lost in found.heaviest(depth, top)
    ]
    if rows:
        context.print()
        table(context, ("SIZE", "WASTED", "FOLDER"), rows)


def _layers(context: Context, found: Exploration) -> None:
    rows = [
        [
            index,
            human_size(use.size),
            use.files,
            human_size(use.wasted),
            len(use.shared_with),
            _step(use.created_by),
        ]
        for index, use in enumerate(found.layers)
    ]
    context.print()
    table(context, ("LAYER", "SIZE", "FILES", "WASTED", "ALSO IN", "CREATED BY"), rows)


def _waste(context: Context, found: Exploration, count: int) -> None:
    rows = [
        (human_size(w.size), w.layer, f"{w.how} in {w.hidden_by}", _path(w.path)) for w in found.waste[:count]
    ]
    if rows:
        context.print()
        table(context, ("WASTED", "LAYER", "HOW", "FILE"), rows)


def _step(text: str) -> str:
    return ellipsis(" ".join(text.split()), _WIDTH)


def _path(path: bytes) -> str:
    shown = "/" + path.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown)


def document(image: Image, found: Exploration) -> dict[str, Any]:
    """Everything, for programs; sizes in bytes."""
    return {
        "Id": str(image.id),
        "Size": found.size,
        "Seen": found.seen,
        "Wasted": found.wasted,
        "Layers": [
            {
                "DiffId": str(use.diff_id), "CreatedBy": use.created_by, "Size": use.size, "Files": use.files,
                "Wasted": use.wasted, "SharedWith": list(use.shared_with),
            }
            for use in found.layers
        ],
        "Copied": found.copied,
        "Folders": [
            {"Path": _path(path), "Size": seen, "Wasted": lost} for path, seen, lost in _all_folders(found)
        ],
        "Waste": [
            {
                "Path": _path(gone.path), "Size": gone.size, "Layer": gone.layer, "HiddenBy": gone.hidden_by,
                "How": gone.how,
            }
            for gone in found.waste
        ],
        "Shares": [{"Image": name, "Size": size} for name, size in found.shares],
    }  # fmt: skip


def _all_folders(found: Exploration) -> list[tuple[bytes, int, int]]:
    seen, lost = dict(found.folders), dict(found.lost)
    return [(path, seen.get(path, 0), lost.get(path, 0)) for path in sorted(seen.keys() | lost.keys())]


def tree(context: Context, args: Args) -> int:
    """The layers from the base up, and which images end at each."""
    image = context.engine.image(args.positionals[0])
    tops: dict[tuple[object, ...], list[str]] = {}
    for other in (*context.engine.sharing(args.positionals[0]), image):
        tops.setdefault(tuple(other.diff_ids), []).append((_names(other) or [other.id.short])[0])
    context.print(f"Image ID: {short_id(image.id)}")
    context.print(f"Tags:     {', '.join(_names(image)) or '<none>'}")
    context.print(f"Size:     {human_size(image.size)}")
    context.print("Image Layers")
    for index, layer in enumerate(image.layers):
        _branch(context, image, index, tops.get(tuple(image.diff_ids[: index + 1]), []), layer.created_by)
    return 0


def _names(image: Image) -> list[str]:
    from ..words.reference import Reference

    return [Reference.parse(name).familiar for name in image.names]


def _branch(context: Context, image: Image, index: int, tops: list[str], created_by: str) -> None:
    diff_id = image.diff_ids[index]
    corner = "└──" if index == len(image.diff_ids) - 1 else "├──"
    size = human_size(image.store.trees.rows.size(diff_id))
    top = f" Top Layer of: [{', '.join(sorted(tops))}]" if tops else ""
    context.print(f"{corner} ID: {short_id(diff_id)} Size: {size:>7} {_step(created_by)}".rstrip() + top)


EXPLORE = Command(
    "IMAGE",
    explore,
    options=(
        number("--depth", "Maximum depth of directories", default=2),
        _FORMAT,
        number("--top", "Maximum number of lines in each list", default=15),
    ),
    details="WASTED bytes are overwritten, deleted, or copied to change owner or mode in a later layer: they "
    "are stored and sent but never visible.",
)
TREE = Command("IMAGE", tree, details="Lists layers from the base up, with the images that end at each.")
