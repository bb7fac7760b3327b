"""What an image shows, as a value, and the tars in which it comes and goes, written without nacre's."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from typing import NamedTuple

FOLDERS = ("d0", "d1", "d0/e")
FILES = ("f0", "f1", "d0/f2", "d0/f3", "d0/e/f4", "d1/f5", "d1/f6", "d1/f7")
LINKS = ("l0", "d0/l1")
_SIZES = (0, 200, 1500, 4096, 9000, 30_000, 130_000, 300_000)
_RECENT = 20
_IDS = (0, 0, 0, 7, 1000)
_MODES = (0o644, 0o644, 0o600, 0o755, 0o4755, 0o400)
_TIME = 1_600_000_000


class Node(NamedTuple):
    """One path: its kind is file, dir or link. `data` is the content, or where a link points to."""

    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    data: bytes = b""


Tree = dict[str, Node]
FOLDER = Node("dir", 0o755)


def identity(tree: Tree) -> str:
    """The same for the same tree."""
    total = hashlib.sha256()
    for path, node in sorted(tree.items()):
        total.update(repr((path, node[:4], hashlib.sha256(node.data).digest())).encode())
    return total.hexdigest()[:16]


class Maker:
    """Makes trees that share contents and paths, so that a store has much to share between them."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.liked: list[bytes] = []
        self._recent = [chance.randbytes(size) for size in _SIZES]

    def like(self, trees: list[Tree]) -> None:
        """From now on take contents of these rather than others."""
        self.liked += [node.data for tree in trees for node in tree.values() if node.kind == "file"]

    def content(self) -> bytes:
        """One that goes, or was used of late, mostly; with another head, now and then; or a new one."""
        data = self._chosen()
        self._recent = [*self._recent[-_RECENT:], data]
        return data

    def _chosen(self) -> bytes:
        chance, what = self.chance, self.chance.random()
        if self.liked and what < 0.55:
            return chance.choice(self.liked)
        if what < 0.7:
            return chance.choice(self._recent)
        if what < 0.8:
            data = chance.choice(self._recent)
            return chance.randbytes(min(16, len(data))) + data[16:]
        return chance.randbytes(chance.choice(_SIZES))

    def file(self) -> Node:
        """A file with its owner and mode."""
        chance = self.chance
        return Node(
            "file", chance.choice(_MODES), chance.choice(_IDS), chance.choice(_IDS), self.content()
        )  # fmt: skip

    def tree(self) -> Tree:
        """One whole layer."""
        chance = self.chance
        tree = {path: Node("dir", chance.choice((0o755, 0o750)), 0, chance.choice(_IDS)) for path in FOLDERS}
        for path in chance.sample(FILES, chance.randint(2, len(FILES))):
            tree[path] = self.file()
        for path in chance.sample(LINKS, chance.randint(0, 2)):
            tree[path] = Node("link", 0o777, 0, 0, chance.choice((b"f0", b"/d1/f5", b"nowhere")))
        return tree

    def changes(self, below: list[Tree]) -> Tree:
        """Files to lay over any of these images, in folders that all of them have."""
        chance = self.chance
        fitting = [path for path in FILES if all(_fits(path, tree) for tree in below)]
        return {path: self.file() for path in chance.sample(fitting, chance.randint(1, min(4, len(fitting))))}

    def removals(self, tree: Tree) -> list[str]:
        """Paths of a tree that are to go, none beneath another."""
        chance = self.chance
        paths = chance.sample(sorted(tree), min(len(tree), chance.randint(0, 2)))
        return [path for path in paths if not any(path.startswith(f"{other}/") for other in paths)]


def _fits(path: str, tree: Tree) -> bool:
    above = path.rpartition("/")[0]
    return not above or above in tree


def without(tree: Tree, paths: list[str]) -> Tree:
    """The tree without these and what is beneath them."""
    gone = tuple(f"{path}/" for path in paths)
    return {path: node for path, node in tree.items() if path not in paths and not path.startswith(gone)}


def write(tree: Tree, removed: list[str] | tuple[str, ...] = ()) -> bytes:
    """A layer, with whiteouts for what it removes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in removed:
            above, _, name = path.rpartition("/")
            tar.addfile(_member(f"{above}/.wh.{name}" if above else f".wh.{name}", Node("file", 0o644)))
        for path, node in sorted(tree.items()):
            tar.addfile(_member(path, node), io.BytesIO(node.data) if node.kind == "file" else None)
    return out.getvalue()


def _member(path: str, node: Node) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.uid, member.gid, member.mtime = node.mode, node.uid, node.gid, _TIME
    if node.kind == "file":
        member.size = len(node.data)
    else:
        member.type = tarfile.DIRTYPE if node.kind == "dir" else tarfile.SYMTYPE
        member.linkname = node.data.decode()
    return member


def read(data: bytes) -> Tree:
    """What an exported tar shows."""
    tree: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            path = member.name.strip("/")
            if path not in ("", "."):
                tree[path] = tree[member.linkname.strip("/")] if member.islnk() else _node(tar, member)
    return tree


def _node(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Node:
    if member.issym():
        return Node("link", 0o777, member.uid, member.gid, member.linkname.encode())
    content = tar.extractfile(member) if member.isfile() else None
    kind = "file" if member.isfile() else "dir" if member.isdir() else member.type.decode()
    return Node(kind, member.mode, member.uid, member.gid, content.read() if content else b"")


def archive(name: str, layers: list[bytes]) -> bytes:
    """What `docker save` writes of an image with these layers."""
    diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    files = {f"{number}/layer.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": list(files)}]
    files |= {"config.json": config, "manifest.json": json.dumps(manifest).encode()}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def difference(wanted: Tree, found: Tree) -> str:
    """The first thing that is not as it should be, one phrase; "" for nothing."""
    for path in sorted(wanted.keys() | found.keys()):
        if path not in found:
            return f"{path} is missing"
        if path not in wanted:
            return f"{path} should not be there"
        if wanted[path][:4] != found[path][:4]:
            return f"{path} is {found[path][:4]}, not {wanted[path][:4]}"
        if wanted[path].data != found[path].data:
            return f"{path} has another content: {_contents(wanted[path].data, found[path].data)}"
    return ""


def _contents(wanted: bytes, found: bytes) -> str:
    zeros = found.count(0) - wanted.count(0)
    return f"{len(found)} bytes for {len(wanted)}, {zeros} more zeros"
