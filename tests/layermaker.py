"""Layers that write through links, and what comes of them: link × where it leads × what is written there.

`fold` is the oracle: it applies members to a tree of Python objects by the rules of the OCI image-spec,
layer.md, and of what containerd and moby do with links (they end at the root, what is missing is made).
`cases` gives the product, `together` many of them in one layer, each in folders of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import NamedTuple

from tarmaker import Member, archive

MADE = 0o755
"""The mode of a folder that no entry names."""
Shown = dict[str, object]
"""By path: the mode of a folder, the content of a file, where a link leads, the kind of anything else."""


class Refused(Exception):
    """The layer cannot be applied."""


class Thing:
    """Anything but a folder; hard links are one thing under several names."""

    def __init__(self, member: Member) -> None:
        self.kind, self.link = member.kind, member.link
        self.shown: object = {"file": member.data, "symlink": "-> " + member.link.decode()}.get(
            member.kind, member.kind
        )


class Folder:
    """`mode` None: no entry has named it. `gone` and `opaque` speak of lower layers."""

    def __init__(self, mode: int | None = None) -> None:
        self.mode, self.opaque = mode, False
        self.inside: dict[bytes, Folder | Thing] = {}
        self.gone: set[bytes] = set()


def fold(*layers: Iterable[Member]) -> Shown:
    """What is to be seen of some layers, the lowest first. Raises Refused."""
    tree = Folder()
    for layer in layers:
        tree = _over(tree, _alone(layer))
    return dict(_show(tree, ""))


def _alone(members: Iterable[Member]) -> Folder:
    """The tree of one layer: only its own links count."""
    root = Folder()
    for member in members:
        above, _, name = member.path.rpartition(b"/")
        if name.startswith(b".wh."):
            _mark(root, above, name)
        elif member.kind == "hardlink":
            thing = _target(root, member.link)
            _make(root, above).inside[name] = thing
        else:
            _put(_make(root, above).inside, name, member)
    return root


def _mark(root: Folder, above: bytes, name: bytes) -> None:
    try:
        folder = _make(root, above)
    except NotAFolder:
        return  # beneath a file nothing can be
    if name == b".wh..wh..opq":
        folder.opaque = True
    else:
        folder.gone.add(name.removeprefix(b".wh."))


def _target(root: Folder, path: bytes) -> Thing:
    above, _, name = path.rpartition(b"/")
    names = _names(root, above)
    folder = _existing(root, names)
    found = folder.inside.get(name) if folder else None
    if not isinstance(found, Thing):
        raise Refused(path)
    return found


def _put(inside: dict[bytes, Folder | Thing], name: bytes, member: Member) -> None:
    there = inside.get(name)
    if member.kind != "dir":
        inside[name] = Thing(member)
    elif isinstance(there, Folder):
        there.mode = member.mode
    else:
        inside[name] = Folder(member.mode)


class NotAFolder(Refused):
    """Something else is on the way."""


def _make(root: Folder, path: bytes) -> Folder:
    """The folder at a path, made where it is missing."""
    folder = root
    for name in _names(root, path):
        inner = folder.inside.setdefault(name, Folder())
        assert isinstance(inner, Folder)
        folder = inner
    return folder


def _existing(root: Folder, names: list[bytes]) -> Folder | None:
    folder: Folder | Thing | None = root
    for name in names:
        folder = folder.inside.get(name) if isinstance(folder, Folder) else None
    return folder if isinstance(folder, Folder) else None


def _names(root: Folder, path: bytes) -> list[bytes]:
    """The path without links and dots: `..` of the root is the root."""
    names: list[bytes] = []
    todo, links = path.split(b"/"), 0
    while todo:
        name, *todo = todo
        if name == b"..":
            names = names[:-1]
        elif name not in (b"", b"."):
            above = _existing(root, names)
            there = above.inside.get(name) if above else None
            if isinstance(there, Thing) and there.kind != "symlink":
                raise NotAFolder(path)
            if isinstance(there, Thing):
                links += 1
                names = [] if there.link.startswith(b"/") else names
                todo = there.link.split(b"/") + todo
            else:
                names = [*names, name]
        if links > 40:
            raise Refused(path)
    return names


def _over(lower: Folder, upper: Folder) -> Folder:
    """As overlayfs lays one folder over another."""
    seen = Folder(lower.mode if upper.mode is None else upper.mode)
    kept = {} if upper.opaque else {name: it for name, it in lower.inside.items() if name not in upper.gone}
    seen.inside = kept | {name: _laid(kept.get(name), it) for name, it in upper.inside.items()}
    return seen


def _laid(below: Folder | Thing | None, it: Folder | Thing) -> Folder | Thing:
    if isinstance(it, Thing):
        return it
    return _over(below if isinstance(below, Folder) else Folder(), it)


def _show(folder: Folder, path: str) -> Iterator[tuple[str, object]]:
    for name, each in folder.inside.items():
        inner = path + name.decode()
        if isinstance(each, Thing):
            yield inner, each.shown
        else:
            yield inner, MADE if each.mode is None else each.mode
            yield from _show(each, inner + "/")


# --- the product


def file(path: bytes, data: bytes = b"new") -> Member:
    return Member(path, data=data)


def folder(path: bytes, mode: int = 0o711) -> Member:
    return Member(path, "dir", mode=mode)


def link(path: bytes, target: bytes) -> Member:
    return Member(path, "symlink", link=target, mode=0o777)


def hard(path: bytes, target: bytes) -> Member:
    return Member(path, "hardlink", link=target)


class Place(NamedTuple):
    """Where a case lives: its folder ("" is the root), a name of its own, and a folder of the host."""

    top: bytes = b""
    own: bytes = b"own"
    outside: bytes = b"/outside"

    def at(self, path: bytes) -> bytes:
        return self.top + b"/" + path if self.top else path


def base(place: Place) -> list[Member]:
    """What is there before."""
    return [
        folder(place.at(b"in")), file(place.at(b"in/file"), b"old"), folder(place.at(b"in/sub"), 0o700),
    ]  # fmt: skip


Target = Callable[[Place], bytes]
TARGETS: dict[str, Target] = {
    "a folder": lambda _: b"in", "a folder from the root": lambda place: b"/" + place.at(b"in"),
    "a folder the long way": lambda _: b"./in/../in/sub//", "a folder through nothing": lambda _: b"no/../in",
    "nothing": lambda _: b"gone/deep", "nothing from the root": lambda place: b"/" + place.at(b"gone"),
    "here": lambda _: b".", "the root": lambda place: b"/" + place.top, "above": lambda _: b"..",
    "a file": lambda _: b"in/file",
    "itself": lambda _: b"way", "out": lambda place: b"../outside/" + place.own,
    "far out": lambda place: b"../" * 9 + b"outside/" + place.own,
    "out over the root": lambda place: b"/../" + place.own,
    "the host": lambda place: place.outside + b"/" + place.own,
    "the host from above": lambda place: b"../" * 20 + place.outside.lstrip(b"/") + b"/" + place.own,
    "the process's root": lambda place: b"/proc/self/root/" + place.own,
    "the process's folder": lambda place: b"/proc/self/cwd/../" + place.own,
}  # fmt: skip
FEW = (
    "a folder",
    "nothing",
    "the root",
    "a file",
    "itself",
    "out",
    "the host from above",
    "the process's root",
)
"""Where links lead that are made in another way than the first."""
Links = Callable[[Place, Target], tuple[list[Member], bytes]]


def _deeper(target: bytes) -> bytes:
    return target if target.startswith(b"/") else b"../" + target


LINKS: dict[str, Links] = {
    "a link": lambda place, to: ([link(place.at(b"way"), to(place))], b"way"),
    "a link in a folder": lambda place, to: ([link(place.at(b"d/way"), _deeper(to(place)))], b"d/way"),
    "a link to a link": lambda place, to: (
        [link(place.at(b"first"), b"way"), link(place.at(b"way"), to(place))], b"first"),
    "a link behind a link": lambda place, to: (
        [link(place.at(b"here"), b"."), link(place.at(b"here/way"), to(place))], b"here/way"),
    "a hard link to a link": lambda place, to: (
        [link(place.at(b"first"), to(place)), hard(place.at(b"way"), place.at(b"first"))], b"way"),
    "a link where a file was": lambda place, to: (
        [file(place.at(b"way")), link(place.at(b"way"), to(place))], b"way"),
    "a link where a folder was": lambda place, to: (
        [folder(place.at(b"way")), file(place.at(b"way/old")), link(place.at(b"way"), to(place))], b"way"),
}  # fmt: skip
Writes = Callable[[Place, bytes], list[Member]]
WRITES: dict[str, Writes] = {
    "a file": lambda place, way: [file(place.at(way + b"/new"))],
    "a file deeper": lambda place, way: [file(place.at(way + b"/sub/more/new"))],
    "a file that is there": lambda place, way: [file(place.at(way + b"/file"))],
    "a folder": lambda place, way: [folder(place.at(way + b"/new"), 0o750)],
    "a folder that is there": lambda place, way: [folder(place.at(way + b"/sub"), 0o750)],
    "a link": lambda place, way: [link(place.at(way + b"/new"), b"../x")],
    "a link, and a file through it": lambda place, way: [
        link(place.at(way + b"/again"), b"."), file(place.at(way + b"/again/new"))],
    "a fifo": lambda place, way: [Member(place.at(way + b"/new"), "fifo")],
    "a hard link": lambda place, way: [
        file(place.at(b"own")), hard(place.at(way + b"/new"), place.at(b"own"))],
    "a hard link from there": lambda place, way: [
        file(place.at(way + b"/new")), hard(place.at(b"stolen"), place.at(way + b"/new")),
        file(place.at(b"stolen"), b"other")],
    "a whiteout": lambda place, way: [file(place.at(way + b"/.wh.file"), b"")],
    "an opaque mark": lambda place, way: [file(place.at(way + b"/.wh..wh..opq"), b"")],
    "a file in its place": lambda place, way: [file(place.at(way))],
    "a folder in its place": lambda place, way: [folder(place.at(way), 0o750), file(place.at(way + b"/new"))],
    "another link in its place": lambda place, way: [
        link(place.at(way), b"in" if b"/" not in way else b"../in"), file(place.at(way + b"/new"))],
    "its whiteout": lambda place, way: [file(place.at(_whiteout(way)), b"")],
}  # fmt: skip


def _whiteout(path: bytes) -> bytes:
    above, slash, name = path.rpartition(b"/")
    return above + slash + b".wh." + name


class Case(NamedTuple):
    """`members` come after `base`: in one layer with it, or in the next."""

    name: str
    base: list[Member]
    members: list[Member]

    def layers(self, count: int) -> list[list[Member]]:
        """As one layer or as two."""
        return [[*self.base, *self.members]] if count == 1 else [self.base, self.members]

    def refused(self, count: int) -> bool:
        """Whether they cannot be applied."""
        try:
            fold(*self.layers(count))
        except Refused:
            return True
        return False


def cases(kind: str, place: Callable[[int], Place] = lambda _: Place()) -> list[Case]:
    """The product of a kind of link with where it leads and what is written; `place` by number."""
    made = []
    targets = TARGETS if kind == "a link" else FEW
    for number, (target, write) in enumerate(product(targets, WRITES)):
        where = place(number)
        before, way = LINKS[kind](where, TARGETS[target])
        name = f"{kind} to {target}, {write}"
        made.append(Case(name, base(where), [*before, *WRITES[write](where, way)]))
    return made


def together(kind: str, outside: bytes, count: int) -> list[list[Member]]:
    """One or two layers of all cases of a kind of link that are not refused, where none meets another."""
    made = cases(kind, lambda n: Place(b"c%d/x" % n, b"o%d" % n, outside))
    parts = [case.layers(count) for case in made if not case.refused(count)]
    return [[member for part in parts for member in part[number]] for number in range(count)]


def tar(members: Iterable[Member]) -> bytes:
    return archive("pax where needed", members)[0]
