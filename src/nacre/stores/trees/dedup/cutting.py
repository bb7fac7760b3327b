"""The tar of a layer on its way to the disk, without the contents that the store has already.

Bytes are fed in the order of the tar, members are noted in theirs; what is written is decided as soon as
a content is there, and then as few large pieces are written as can be. A content is looked for by its
size and a checksum of two samples of it, and always compared before it is left out: a hostile layer can
make this slow, but never show other bytes than its own. Contents of up to 256 KiB are held until they are
whole; larger ones are compared as they stream, and what was equal of one that then differs is copied. One
that differs within its first 4 KiB only keeps those, and shares the rest: every `.pyc` has the time of its
source in its head, so that two runs of `pip install` give no equal ones.
"""

from __future__ import annotations

import os
from collections import deque

from ....grammars.codecs.stream import checksummer
from ....grammars.erofs.cuts import RECORD
from ....grammars.erofs.format import BLOCK, HEAD
from ....ground.files import write_all
from .hints import KEY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....grammars.erofs.tree import LayerTree
    from ....grammars.tar.entry import Entry
    from .donors import Borrowing, Donor

SMALLEST = 1024
"""Smaller contents are not worth it: 2 % of the bytes of a layer, but a third of its files."""
OWN, SPARSE, FIRST_DONOR = 1, 2, 3
"""Numbers of devices in the nodes; the second is left out again where there are no sparse files."""

_HELD = 1 << 18
_SAMPLE = 1 << 12
"""Bytes at the beginning and before the first 256 KiB end that are summed: files of one size that differ
only elsewhere are rare, and cost room only. Above 5 KiB crc32 lets go of the interpreter lock, which among
the threads of a pull costs far more than it takes."""
_HEAD = HEAD * BLOCK
"""Bytes that may be a content's own while the rest is shared."""
_MASK = 0xFFFFFFFF
_MOST_SPANS = 1000


class Cutter:
    """Writes one tar to `fd` and adds its members to `tree`."""

    def __init__(self, fd: int, tree: LayerTree, borrowing: Borrowing) -> None:
        self._fd, self._tree, self._borrowing = fd, tree, borrowing
        self._crc = checksummer()
        self._members: deque[tuple[int, int, int]] = deque()
        self._pieces: list[bytes] = []
        self._held = 0
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._spans: list[memoryview] = []
        self._followed: tuple[Donor, int] | None = None
        self._last = False
        self._from = 0
        """From here on nothing has been decided: neither written, nor in a span, nor cut."""
        self.end = 0
        self.cut = 0
        """Bytes left out."""
        self.records = bytearray()
        """The cuts, as `grammars.erofs.cuts` has them."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the tar; nothing is decided yet."""
        self._pieces.append(data)
        self._held += len(data)

    def note(self, entry: Entry, block: int = -1) -> None:
        """The next member; `block` of the sparse file, if its content is there.

        Either before its content is fed, or before `drain` is called. Raises InvalidArchive.
        """
        inode = self._tree.add(entry)
        if inode and block >= 0:
            self._tree.place(inode, SPARSE, block)
        elif inode:
            self._members.append((inode, entry.offset, entry.size))

    def drain(self) -> None:
        """Decide about what was fed, if it is enough to be worth it. Raises OSError."""
        if self._held >= _HELD:
            self._gather()

    def finish(self) -> None:
        """There is no more. Raises OSError."""
        self._last = True
        self._gather()

    def _gather(self) -> None:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._held = [], 0
        self._chunks.append((self.end, data))
        self.end += len(data)
        self._decide()
        while self._chunks and self._chunks[0][0] + len(self._chunks[0][1]) <= self._from:
            self._chunks.popleft()

    def _decide(self) -> None:
        members = self._members
        while members and self._is_decided(*members[0]):
            members.popleft()
        self._pass(min(self.end, members[0][1]) if members else self.end)
        self._write()

    def _is_decided(self, inode: int, offset: int, size: int) -> bool:
        """Decide about one content; False when more of it must be seen."""
        if size < SMALLEST:
            self._stays(inode, offset)
            return True
        stop = offset + (size + BLOCK - 1) // BLOCK * BLOCK
        if stop > self.end and self._last:  # the tar ends within the padding
            self._keep(inode, offset)
        elif size > _HELD:
            return self._large(inode, offset, size, stop)
        elif stop > self.end:
            return False
        else:
            self._whole(inode, offset, size, stop)
        return True

    def _whole(self, inode: int, offset: int, size: int, stop: int) -> None:
        key = self._key(offset, size)
        found = self._borrowing.find(key, (stop - offset) // BLOCK)
        kept = self._differing(size, offset, stop, *found) if found else -1
        if found and kept >= 0 and self._borrowing.take(found[0]):
            self._cut(inode, offset, stop, *found, kept)
        else:
            self._place(inode, offset, key)

    def _differing(self, size: int, offset: int, stop: int, donor: Donor, block: int) -> int:
        """How many blocks at the beginning the donor does not have: none, HEAD, or -1 for too many."""
        if self._same(donor, block * BLOCK, self._views(offset, stop)):
            return 0
        rest = self._views(offset + _HEAD, stop) if size >= 2 * _HEAD else []
        return HEAD if rest and self._same(donor, block * BLOCK + _HEAD, rest) else -1

    def _large(self, inode: int, offset: int, size: int, stop: int) -> bool:
        """A content that is compared as it comes."""
        if self._followed is None:
            if self.end < offset + _HELD:
                return False
            key = self._key(offset, size)
            self._followed = self._borrowing.find(key, (stop - offset) // BLOCK)
            if self._followed is None:
                self._place(inode, offset, key)
                return True
            self._pass(offset)
        return self._follow(inode, offset, stop, *self._followed)

    def _follow(self, inode: int, offset: int, stop: int, donor: Donor, block: int) -> bool:
        until = min(stop, self.end)
        same = self._same(donor, block * BLOCK + self._from - offset, self._views(self._from, until))
        if same:
            self._from = until
        if same and until < stop:
            return False
        if same and self._borrowing.take(donor):
            self._followed = None
            self._cut(inode, offset, stop, donor, block)
        else:
            self._keep(inode, offset)
        return True

    def _keep(self, inode: int, offset: int) -> None:
        """A content that was followed in vain, or none that can be cut, goes into the tar."""
        followed, self._followed = self._followed, None
        if followed:
            self._write()
            self._copy(followed[0], followed[1] * BLOCK, self._from - offset)
        self._stays(inode, offset)

    def _place(self, inode: int, offset: int, key: bytes) -> None:
        self._stays(inode, offset)
        self._borrowing.tell(key, (offset - self.cut) // BLOCK)

    def _stays(self, inode: int, offset: int) -> None:
        """A content is in the tar, where its entry said unless something before it was cut."""
        if self.cut:
            self._tree.place(inode, OWN, (offset - self.cut) // BLOCK)

    def _cut(self, inode: int, offset: int, stop: int, donor: Donor, block: int, kept: int = 0) -> None:
        """Leave a content out, but for `kept` blocks of it: `donor` has it at `block`."""
        self._tree.place(inode, FIRST_DONOR - 1 + donor.number if donor.number else OWN, block)
        if kept:
            self._tree.behead(inode, OWN, (offset - self.cut) // BLOCK)
        offset += kept * BLOCK
        self._pass(offset)
        self._from = stop
        self.cut += stop - offset
        self.records += RECORD.pack(offset // BLOCK, (stop - offset) // BLOCK, donor.number, block + kept)

    def _same(self, donor: Donor, at: int, views: list[memoryview]) -> bool:
        """Does the donor have these bytes at `at`?"""
        if not donor.number:
            self._write()
        for view in views:
            data = os.pread(donor.fd, len(view), at)
            if len(data) != len(view) or not data.startswith(view):
                return False
            at += len(view)
        return True

    def _key(self, offset: int, size: int) -> bytes:
        """Of what a donor must have: not of the head, where that may be the content's own."""
        stop = offset + min(size, _HELD)
        if 2 * _HEAD <= size <= _HELD:
            offset += _HEAD
        first = min(offset + _SAMPLE, stop)
        crc = self._crc(self._bytes(offset, first), 0)
        if first < stop:
            crc = self._crc(self._bytes(max(first, stop - _SAMPLE), stop), crc)
        return KEY.pack(crc, size & _MASK)

    def _bytes(self, start: int, stop: int) -> bytes:
        """A few of the bytes held."""
        at, data = self._chunks[-1]
        return data[start - at : stop - at] if start >= at else b"".join(self._views(start, stop))

    def _views(self, start: int, stop: int) -> list[memoryview]:
        """The bytes held from `start` to `stop`."""
        found = []
        for at, data in self._chunks:
            if start < at + len(data) and at < stop:
                found.append(memoryview(data)[max(0, start - at) : stop - at])
        return found

    def _pass(self, to: int) -> None:
        if to > self._from:
            self._spans += self._views(self._from, to)
            self._from = to

    def _write(self) -> None:
        spans, self._spans = self._spans, []
        for first in range(0, len(spans), _MOST_SPANS):
            self._write_spans(spans[first : first + _MOST_SPANS])

    def _write_spans(self, spans: list[memoryview]) -> None:
        written = os.writev(self._fd, spans)
        for span in spans:  # a full disk may take less
            if written < len(span):
                write_all(self._fd, span[written:])
            written = max(0, written - len(span))

    def _copy(self, donor: Donor, start: int, left: int) -> None:
        while left:
            data = os.pread(donor.fd, min(left, _HELD), start)
            write_all(self._fd, data)
            start, left = start + len(data), left - len(data)
