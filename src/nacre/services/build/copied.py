"""Telling what a step costs that changes mode or owner of files from beneath: all their bytes again."""

from __future__ import annotations

from ...words.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .report import StepReport

WORTH_TELLING = 1 << 20
"""Bytes in all."""

_MOST = 0.9


def tell_copied(copied: Sequence[tuple[bytes, int]], report: StepReport) -> None:
    """Two lines within the step, if it is worth that. `copied`: path and size of each such file."""
    total = sum(size for _, size in copied)
    if total < WORTH_TELLING:
        return
    place = common_folder(copied).decode("utf-8", "backslashreplace")
    count = f"{len(copied)} file{'s' * (len(copied) > 1)}"
    report.line(
        f"WARNING: {human_size(total)} copied only to change owner or mode ({count}, most in /{place})"
    )
    report.line("hint: use COPY --chown or --chmod, or do it in the step that writes the files")


def common_folder(copied: Sequence[tuple[bytes, int]]) -> bytes:
    """The deepest folder, relative to the root, that holds nine tenths of the bytes."""
    enough = _MOST * sum(size for _, size in copied)
    sums: dict[bytes, int] = {}
    for path, size in copied:
        while path := path.rpartition(b"/")[0]:
            sums[path] = sums.get(path, 0) + size
    return max((path for path, size in sums.items() if size >= enough), key=len, default=b"")
