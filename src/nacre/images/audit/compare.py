"""How two images differ, path by path, without mounting either.

What both see from the layers they have in common from the bottom up is equal and never looked at: a path
at which no other layer has anything, seen by both, is the same in both.
"""

from __future__ import annotations

from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...stores.trees.reading.view import Found, TreeView
    from ...words.digest import Digest
    from ..model.image import Image

_CHUNK = 1 << 20
_NANO = 1_000_000_000


class Difference(Value):
    """One path, relative to the root; `kind` A added, C changed or D deleted.

    `changed`, for C, says what: kind, mode, owner, link, device, attributes, time, content; nothing for a
    folder that counts only for what is in it.
    """

    kind: str
    path: bytes
    changed: tuple[str, ...] = ()


def differences(one: Image, other: Image) -> Iterator[Difference]:
    """What `other` has otherwise than `one`, folders before what is in them, names sorted by bytes.

    All that is in a new folder is named, of a deleted one the folder only. Raises NotFound when a layer is
    missing, StoreError.
    """
    with one.store.trees.open(one.diff_ids) as left, other.store.trees.open(other.diff_ids) as right:
        yield from compare((left, one.diff_ids), (right, other.diff_ids), _same_content)


def compare(
    one: tuple[TreeView, tuple[Digest, ...]], other: tuple[TreeView, tuple[Digest, ...]],
    is_same: Callable[[Found, Found], bool],
) -> Iterator[Difference]:  # fmt: skip
    """As `differences` of two stacks of layers, each with the digests of its layers, lowest first.

    `is_same` tells whether two files have the same content.
    """
    return _Comparison(one, other, is_same).folder(b"")


class _Comparison:
    def __init__(
        self, one: tuple[TreeView, tuple[Digest, ...]], other: tuple[TreeView, tuple[Digest, ...]],
        is_same: Callable[[Found, Found], bool],
    ) -> None:  # fmt: skip
        (left, lefts), (right, rights) = one, other
        self._is_same = is_same
        shared = 0
        while lefts[shared : shared + 1] == rights[shared : shared + 1] != ():
            shared += 1
        self.left, self.right = left, right
        self._lefts, self._rights = frozenset(lefts[shared:]), frozenset(rights[shared:])

    def folder(self, path: bytes) -> Iterator[Difference]:
        """What differs in a folder that both have."""
        olds, news = set(self.left.names(path)), set(self.right.names(path))
        for name in sorted(olds | news):
            yield from self._name(path + b"/" + name if path else name, name in olds, name in news)

    def _name(self, path: bytes, old: bool, new: bool) -> Iterator[Difference]:
        if old and new:
            if self.left.touched(path, self._lefts) or self.right.touched(path, self._rights):
                yield from self._both(path)
        elif old:
            yield Difference("D", path)
        else:
            yield from self._added(path)

    def _added(self, path: bytes) -> Iterator[Difference]:
        yield Difference("A", path)
        found = self.right.lookup(path, follow=False)
        if found is not None and found.kind == "dir":
            yield from self._all_in(path)

    def _all_in(self, path: bytes) -> Iterator[Difference]:
        for name in self.right.names(path):
            yield from self._added(path + b"/" + name)

    def _both(self, path: bytes) -> Iterator[Difference]:
        old, new = self.left.lookup(path, follow=False), self.right.lookup(path, follow=False)
        if old is None or new is None:
            return
        changed = tuple(_changes(old, new, self._is_same))
        if old.kind == new.kind == "dir":
            inside = list(self.folder(path))
            if changed or inside:
                yield Difference("C", path, changed)
            yield from inside
        elif changed:
            yield Difference("C", path, changed)
            if new.kind == "dir":
                yield from self._all_in(path)


def _changes(old: Found, new: Found, is_same: Callable[[Found, Found], bool]) -> Iterator[str]:
    if old.kind != new.kind:
        yield "kind"
        return
    pairs = {
        "mode": (old.mode, new.mode), "owner": ((old.uid, old.gid), (new.uid, new.gid)),
        "link": (old.link, new.link), "device": ((old.major, old.minor), (new.major, new.minor)),
    }  # fmt: skip
    yield from (name for name, (before, after) in pairs.items() if before != after)
    if old.layer == new.layer:
        return
    if old.xattrs != new.xattrs:
        yield "attributes"
    if old.kind != "dir" and old.mtime_ns // _NANO != new.mtime_ns // _NANO:
        yield "time"
    if old.kind == "file" and not is_same(old, new):
        yield "content"


def _same_content(old: Found, new: Found) -> bool:
    if old.size != new.size:
        return False
    with old.open() as one, new.open() as other:
        while data := one.read(_CHUNK):
            if data != other.read(_CHUNK):
                return False
    return True
