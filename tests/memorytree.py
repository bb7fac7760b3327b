"""The smallest tree that carries out what `grammars.layer.rules` decides: dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nacre.grammars.layer import overlay, rules
from nacre.grammars.tar.entry import Entry

GONE = Entry(b"", "char")
"""What stands for a whiteout."""


class Dir:
    def __init__(self, path: bytes, marks: int) -> None:
        self.path, self.marks = path, marks
        self.entry: Entry | None = None
        self.layer = -1
        """The number of the layer that described it last."""
        self.names: dict[bytes, Dir | Entry] = {}
        self.hidden: set[bytes] = set()


class MemoryTree:
    """`full`: layers are applied one after the other, instead of one kept by itself."""

    def __init__(self, *, full: bool = False) -> None:
        self.root, self.full = Dir(b"", rules.IMPLIED), full
        self.layers = 0
        self.became_folder = False
        """Whether something else of the same layer gave way to a folder."""

    def add(self, entries: Iterable[Entry]) -> MemoryTree:
        """One layer."""
        self.layers += 1
        self.decider = rules.ApplyRules(self, links=False) if self.full else rules.LayerRules(self)
        for entry in entries:
            self.carry_out(self.decider.decide(entry), entry)
        return self

    def carry_out(self, decision: rules.Decision[Dir], entry: Entry) -> None:
        verb, folder, missing, name = decision
        for part in missing:
            folder = self._make(folder, part, described=False)
        getattr(self, f"_do_{verb}")(entry, folder, name)

    # --- what stands where

    def open(self, path: bytes) -> Dir | None:
        found: Dir | Entry | None = self.root
        for part in path.split(b"/") if path else ():
            found = found.names.get(part) if isinstance(found, Dir) else None
        return found if isinstance(found, Dir) else None

    def remember(self, path: bytes, folder: Dir) -> None:
        pass

    def stands(self, folder: Dir, name: bytes) -> str:
        there = folder.names.get(name)
        if there is None or isinstance(there, Dir):
            return "" if there is None else "dir"
        return overlay.WHITEOUT if there is GONE else there.kind

    def child(self, folder: Dir, name: bytes) -> Dir:
        found = folder.names[name]
        assert isinstance(found, Dir)
        return found

    def target(self, folder: Dir, name: bytes) -> bytes:
        found = folder.names[name]
        assert isinstance(found, Entry)
        return found.link

    def path(self, folder: Dir) -> bytes:
        return folder.path

    def names(self, folder: Dir) -> list[bytes]:
        return list(folder.names)

    # --- what is decided

    def _make(self, parent: Dir, name: bytes, *, described: bool) -> Dir:
        there = parent.names.get(name)
        self.became_folder |= there is not None and there is not GONE
        marks = rules.marks_of_new(hidden=name in parent.hidden, described=described)
        made = parent.names[name] = Dir(parent.path + b"/" + name if parent.path else name, marks)
        return made

    def _do_put(self, entry: Entry, folder: Dir, name: bytes) -> None:
        folder.names[name] = entry

    def _do_link(self, entry: Entry, folder: Dir, name: bytes) -> None:
        if isinstance(folder.names.get(name), Dir):
            del folder.names[name]
        source, source_name = self.decider.source(entry.link)
        folder.names[name] = source.names[source_name]

    def _do_make(self, entry: Entry, folder: Dir, name: bytes) -> None:
        self._do_merge(entry, self._make(folder, name, described=True), name)

    def _do_merge(self, entry: Entry, folder: Dir, _name: bytes) -> None:
        folder.entry, folder.marks, folder.layer = entry, rules.described(folder.marks), self.layers

    def _do_hide(self, _entry: Entry, folder: Dir, name: bytes) -> None:
        folder.hidden.add(name)

    def _do_whiteout(self, _entry: Entry, folder: Dir, name: bytes) -> None:
        folder.hidden.add(name)
        folder.names[name] = GONE
        folder.marks |= rules.ORIGIN

    def _do_cover(self, _entry: Entry, folder: Dir, name: bytes) -> None:
        folder.hidden.add(name)
        child = self.child(folder, name)
        child.marks = rules.covering(child.marks)

    def _do_opaque(self, _entry: Entry, folder: Dir, _name: bytes) -> None:
        folder.marks |= rules.OPAQUE

    def _do_remove(self, _entry: Entry, folder: Dir, name: bytes) -> None:
        del folder.names[name]

    def _do_renew(self, _entry: Entry, folder: Dir, name: bytes) -> None:
        child = self.child(folder, name)
        if child.layer != self.layers:
            self._do_merge(Entry(child.path, "dir", 0o755), child, name)

    def _do_reset(self, entry: Entry, folder: Dir, name: bytes) -> None:
        self._do_renew(entry, folder, name)
        self._do_prune(entry, self.child(folder, name), b"")

    def _do_prune(self, entry: Entry, folder: Dir, _name: bytes) -> None:
        assert isinstance(self.decider, rules.ApplyRules)
        for decision in self.decider.leftovers(folder):
            self.carry_out(decision, entry)

    def _do_nothing(self, _entry: Entry, _folder: Dir, _name: bytes) -> None:
        pass

    def kinds(self) -> dict[bytes, str]:
        """Kind by path, without the root."""
        return dict(self._kinds(self.root))

    def _kinds(self, folder: Dir) -> Iterator[tuple[bytes, str]]:
        for name in folder.names:
            path = folder.path + b"/" + name if folder.path else name
            yield path, self.stands(folder, name)
            if self.stands(folder, name) == "dir":
                yield from self._kinds(self.child(folder, name))
