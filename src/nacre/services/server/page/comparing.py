"""Two images file by file: what came, went and changed, without pulling either."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ....images.audit.compare import compare
from ....stores.trees.reading.view import TreeView
from ....words.errors import UsageError
from .files import layers_of, waiting
from .image import choose
from .visit import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ....images.audit.compare import Difference
    from ....stores.listings import LayerListing
    from ....stores.trees.reading.view import Found
    from ....words.digest import Digest
    from ....words.oci import Manifest
    from .documents import Documents
    from .reading import LayerContents
    from .visit import Visit

_MOST = 3000
"""Differences that are shown."""
_MOST_COUNTED = 200_000
_SECONDS = 20.0


class ChangedFile(NamedTuple):
    """One path; sizes in bytes, None where there is no file."""

    kind: str
    path: bytes
    before: int | None
    after: int | None
    changed: tuple[str, ...]


class _TimeIsUp(Exception):
    """Enough time has gone into a comparison."""


class ComparisonViews:
    """The handlers of one registry."""

    def __init__(self, documents: Documents, contents: LayerContents) -> None:
        self._documents, self._contents = documents, contents
        self.views = {"repository/compare": self.show}
        self.forms: dict[str, Any] = {}

    async def show(self, visit: Visit) -> Shown:
        """What `to` has otherwise than `from`."""
        name, before, after = visit.location.repository, visit.word("from"), visit.word("to")
        if not before or not after:
            raise UsageError("a comparison needs two tags: from and to")
        platform = visit.word("platform")
        chosen = [await choose(self._documents, name, reference, platform) for reference in (before, after)]
        common = {"name": name, "before": before, "after": after, "platform": platform}
        return await waiting(common, lambda: self._show(common, *map(layers_of, chosen)))

    async def _show(self, common: dict[str, Any], one: Manifest, other: Manifest) -> Shown:
        with ExitStack() as stack:
            lefts = await self._contents.image(common["name"], one)
            left = stack.enter_context(TreeView(lefts))
            rights = await self._contents.image(common["name"], other)
            right = stack.enter_context(TreeView(rights))
            found, whole = await self._contents.run(lambda: _compared(left, right, lefts, rights))
        shown = found[:_MOST]
        sums = {kind: [each for each in found if each.kind == kind] for kind in "ACD"}
        values = {
            "rows": shown, "left_out": len(found) - len(shown), "whole": whole,
            "counts": {kind: len(rows) for kind, rows in sums.items()},
            "added": sum(row.after or 0 for row in sums["A"]),
            "removed": sum(row.before or 0 for row in sums["D"]),
            "grown": sum((row.after or 0) - (row.before or 0) for row in sums["C"]),
        }  # fmt: skip
        return Shown("compare.html", {**common, **values})


def _compared(
    left: TreeView, right: TreeView,
    lefts: list[tuple[Digest, LayerListing]], rights: list[tuple[Digest, LayerListing]],
) -> tuple[list[ChangedFile], bool]:  # fmt: skip
    """The differences, and whether these are all."""
    listings, end = dict([*lefts, *rights]), time.monotonic() + _SECONDS

    def is_same(old: Found, new: Found) -> bool:
        if time.monotonic() > end:
            raise _TimeIsUp
        if old.size != new.size:
            return False
        sums = listings[old.layer].sum(old.path), listings[new.layer].sum(new.path)
        return sums[0] == sums[1] if all(sums) else old.mtime_ns == new.mtime_ns

    first, second = (tuple(digest for digest, _ in each) for each in (lefts, rights))
    differences = compare((left, first), (right, second), is_same)
    found: list[ChangedFile] = []
    with suppress(_TimeIsUp):
        for each in _files(left, right, differences):
            if len(found) >= _MOST_COUNTED or time.monotonic() > end:
                raise _TimeIsUp
            found.append(each)
        return found, True
    return found, False


def _files(left: TreeView, right: TreeView, differences: Iterable[Difference]) -> Iterable[ChangedFile]:
    """With sizes; folders that only hold what differs are left out, and so are those that differ in time."""
    for each in differences:
        if each.kind == "C" and not each.changed:
            continue
        old, new = left.lookup(each.path, follow=False), right.lookup(each.path, follow=False)
        before = old.size if old and old.kind == "file" else None
        after = new.size if new and new.kind == "file" else None
        if each.kind == "D" and old is not None and old.kind == "dir":
            yield from _removed(left, each.path)
        else:
            yield ChangedFile(each.kind, each.path, before, after, each.changed)


def _removed(view: TreeView, folder: bytes) -> Iterable[ChangedFile]:
    """All that was in a folder which is gone."""
    yield ChangedFile("D", folder, None, None, ())
    for name in view.names(folder):
        path = folder + b"/" + name
        node = view.lookup(path, follow=False)
        if node is not None and node.kind == "dir":
            yield from _removed(view, path)
        elif node is not None:
            yield ChangedFile("D", path, node.size if node.kind == "file" else None, None, ())
