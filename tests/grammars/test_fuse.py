"""The kernel's FUSE protocol, and an index that answers it: what the index has, whatever is asked."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from struct import Struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_erofs import SIZES, file, folder, trees

from nacre.grammars import fuse
from nacre.grammars.erofs.answers import ContentWanted, IndexAnswers
from nacre.grammars.erofs.format import BLOCK, HEAD
from nacre.grammars.erofs.read import ErofsIndex
from nacre.grammars.erofs.write import encode
from nacre.grammars.layer.nodes import Inode, walk
from nacre.words.errors import InvalidDocument

HEADER, REPLY = Struct("=IIQQIIIHH"), Struct("=IiQ")
ATTRIBUTES, ENTRY = Struct("=QQQQQQIIIIIIIIII"), Struct("=QQQQII")
DIRENT, SPAN = Struct("=QQII"), Struct("=QQIIQII")
OFFERED = (1 << 13 | 1 << 14 | 1 << 17 | 1 << 22 | 1 << 24 | 1 << 30, 1 << 7)


class Kernel:
    """Asks an index as the kernel does."""

    def __init__(self, root: Inode, *, single: bool = False) -> None:
        self.index = ErofsIndex(bytes(encode(root, SIZES)))
        self.answers = IndexAnswers(self.index, single=single)
        self._unique = 0

    def ask(self, opcode: int, node: int = fuse.ROOT, body: bytes = b"") -> bytes | ContentWanted | None:
        self._unique += 2
        head = HEADER.pack(HEADER.size + len(body), opcode, self._unique, node, 0, 0, 1, 0, 0)
        return self.answers.answer(fuse.parse(head + body))

    def body(self, opcode: int, node: int = fuse.ROOT, body: bytes = b"") -> bytes:
        found = self.ask(opcode, node, body)
        assert isinstance(found, bytes)
        length, failure, unique = REPLY.unpack_from(found)
        assert (length, unique) == (len(found), self._unique)
        assert not failure or length == REPLY.size
        self.failure = -failure
        return found[REPLY.size :]

    def refusal(self, opcode: int, node: int = fuse.ROOT, body: bytes = b"") -> int:
        """The errno of an answer."""
        self.body(opcode, node, body)
        return self.failure

    def lookup(self, node: int, name: bytes) -> tuple[int, tuple[int, ...]]:
        """Its node, 0 for none, and its attributes."""
        data = self.body(fuse.LOOKUP, node, name + b"\0")
        return ENTRY.unpack_from(data)[0], ATTRIBUTES.unpack_from(data, ENTRY.size)

    def names(self, node: int, opcode: int = fuse.READDIR, room: int = 4096) -> Iterator[tuple[bytes, int]]:
        """What is in a folder, with types; as many requests as it takes."""
        at = 0
        while data := self.body(opcode, node, SPAN.pack(0, at, room, 0, 0, 0, 0)):
            assert len(data) <= room
            while data:
                start = 0 if opcode == fuse.READDIR else ENTRY.size + ATTRIBUTES.size
                _, at, length, kind = DIRENT.unpack_from(data, start)
                name = data[start + DIRENT.size :][:length]
                yield name, kind
                if start and name not in (b".", b".."):
                    assert data[:start] == self.body(fuse.LOOKUP, node, name + b"\0")
                data = data[start + (DIRENT.size + length + 7 & ~7) :]


def size_of(node: Inode) -> int:
    return len(node.link) if stat.S_ISLNK(node.mode) else node.size if stat.S_ISREG(node.mode) else 0


@settings(max_examples=40)
@given(trees(), st.booleans(), st.booleans())
def test_the_kernel_sees_the_tree(root: Inode, single: bool, plus: bool) -> None:
    kernel, places = Kernel(root, single=single), {b"": fuse.ROOT}
    for path, node in walk(root):
        above, _, name = path.rpartition(b"/")
        if path:
            places[path], found = kernel.lookup(places[above], name)
        else:
            found = ATTRIBUTES.unpack_from(kernel.body(fuse.GETATTR), 16)
        nanoseconds = (found[4] - (found[4] >> 63 << 64)) * 1_000_000_000 + found[7]
        owner = (0, 0) if single else (node.uid, node.gid)
        assert found[9] == node.mode
        assert found[11:13] == owner
        assert (found[1], nanoseconds) == (size_of(node), node.mtime_ns)
        if node.children is not None:
            opcode = fuse.READDIRPLUS if plus else fuse.READDIR
            kinds = {name: child.mode >> 12 for name, child in node.children.items()}
            assert dict(kernel.names(places[path], opcode)) == {b".": 4, b"..": 4, **kinds}
        elif stat.S_ISLNK(node.mode):
            assert kernel.body(fuse.READLINK, places[path]) == node.link
        elif not stat.S_ISREG(node.mode):
            assert found[13] == node.rdev


def attributes_of(kernel: Kernel, node: int) -> dict[bytes, bytes]:
    names = kernel.body(fuse.LISTXATTR, node, Struct("=II").pack(1 << 16, 0)).split(b"\0")[:-1]
    found = {}
    for name in names:
        (size, _) = Struct("=II").unpack(kernel.body(fuse.GETXATTR, node, bytes(8) + name + b"\0"))
        found[name] = kernel.body(fuse.GETXATTR, node, Struct("=II").pack(size, 0) + name + b"\0")
        assert len(found[name]) == size
    return found


def test_marks_are_those_of_a_user_namespace() -> None:
    below = Inode(stat.S_IFDIR | 0o755)
    below.xattrs = ((b"security.capability", b"c"), (b"trusted.overlay.opaque", b"y"), (b"user.a", b"1"))
    below.children = {b"gone": Inode(stat.S_IFCHR)}
    other = Inode(stat.S_IFREG, xattrs=((b"trusted.x", b"2"), (b"user.overlay.opaque", b"y")))
    kernel = Kernel(folder(below=below, other=other))
    node, _ = kernel.lookup(fuse.ROOT, b"below")
    expected = {b"security.capability": b"c", b"user.overlay.opaque": b"y", b"user.a": b"1"}
    assert attributes_of(kernel, node) == expected
    assert kernel.lookup(node, b"gone")[1][9:14] == (stat.S_IFCHR, 1, 0, 0, 0)
    assert not attributes_of(kernel, kernel.lookup(fuse.ROOT, b"other")[0])
    assert kernel.refusal(fuse.GETXATTR, node, Struct("=II").pack(0, 0) + b"user.b\0") == errno.ENODATA
    assert kernel.refusal(fuse.LISTXATTR, node, Struct("=II").pack(3, 0)) == errno.ERANGE


def spans(kernel: Kernel, node: int, offset: int, count: int) -> tuple[tuple[int, int, int], ...]:
    found = kernel.ask(fuse.READ, node, SPAN.pack(0, offset, count, 0, 0, 0, 0))
    assert isinstance(found, ContentWanted)
    return found.spans


def test_a_read_tells_where_the_content_lies() -> None:
    apart = file(10_000, device=2, block=100)
    apart.head = 1, 2
    kernel = Kernel(folder(plain=file(5 * BLOCK + 3, block=2), apart=apart, empty=file()))
    plain, split, empty = (kernel.lookup(fuse.ROOT, name)[0] for name in (b"plain", b"apart", b"empty"))
    assert spans(kernel, plain, 0, 1 << 20) == ((1, 2 * BLOCK, 5 * BLOCK + 3),)
    assert spans(kernel, plain, 5 * BLOCK, 2) == ((1, 7 * BLOCK, 2),)
    assert spans(kernel, plain, 6 * BLOCK, 9) == spans(kernel, empty, 0, 4096) == ()
    size = HEAD * BLOCK
    assert spans(kernel, split, 0, 1 << 17) == (
        (1, 2 * BLOCK, size), (2, 100 * BLOCK + size, 10_000 - size)
    )  # fmt: skip
    assert spans(kernel, split, size, 10) == ((2, 100 * BLOCK + size, 10),)
    assert spans(kernel, split, 1, size - 1) == ((1, 2 * BLOCK + 1, size - 1),)


def test_a_large_folder_with_the_longest_names_comes_in_parts() -> None:
    names = {f"{number:04}".ljust(255, "x") for number in range(3000)}
    kernel = Kernel(folder(**{name: file() for name in names}))
    assert {name.decode() for name, _ in kernel.names(fuse.ROOT)} == {".", "..", *names}


def test_what_is_not_there_and_what_is_not_to_be_had() -> None:
    kernel = Kernel(folder(a=file()))
    assert kernel.lookup(fuse.ROOT, b"b")[0] == kernel.lookup(fuse.ROOT, b"..")[0] == 0
    assert kernel.ask(fuse.FORGET) is None
    for opcode in (fuse.OPEN, fuse.OPENDIR, 16, 9, 4097):  # WRITE, MKDIR, and none
        assert kernel.refusal(opcode) == errno.ENOSYS
    assert kernel.refusal(fuse.READ, fuse.ROOT, bytes(SPAN.size)) == errno.EINVAL


def test_what_is_used_of_what_the_kernel_offers() -> None:
    kernel, init = Kernel(folder()), Struct("=IIIII")
    answer = Struct("=IIIIHHIIHHI").unpack_from(
        kernel.body(fuse.INIT, 0, init.pack(7, 45, 1 << 17, OFFERED[0] | 1 << 16, OFFERED[1] | 1 << 5))
    )
    assert answer[:4] == (7, 40, 1 << 17, OFFERED[0])
    assert (answer[8] * 4096, answer[10]) == (fuse.MAX_READ, OFFERED[1])
    assert kernel.refusal(fuse.INIT, 0, init.pack(7, 39, 1 << 17, 0, 0)) == errno.EIO


SMALL = Kernel(folder(a=file(700), b=folder()))


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 1 << 40))
def test_nothing_that_is_asked_breaks_it(body: bytes, opcode: int, node: int) -> None:
    found = SMALL.ask(opcode, node, body)
    assert isinstance(found, ContentWanted) or found is None or len(found) >= REPLY.size


@given(st.binary(max_size=80))
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidDocument):
        fuse.parse(data)
