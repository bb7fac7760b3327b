"""Where copied files go: the entries of the layer that a COPY or ADD makes. No writing.

    base layers + files so far ──▶ Target ◀── put(chosen, destination) …  ──▶ entries, sorted

Rules, as docker's: a destination with a final slash, or one that is a folder already, takes files under
their own name; a folder gives its content; folders on the way are made 0755; links in the destination are
followed inside the image; existing folders keep their metadata at the top and take the source's below.
A layer also holds the folders above its files as they were, since an overlay shows a folder's topmost
entry. Source: Dockerfile reference, "Destination"; BuildKit's fsutil/copy.
"""

from __future__ import annotations

from ...grammars.dockerfile.chmod import apply, octal
from ...grammars.layer.whiteouts import WHITEOUT
from ...grammars.tar.entry import Entry
from ...words.errors import UsageError
from ...words.value import Value
from .items import CopyItem, resolve, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...grammars.tar.entry import Reader
    from .select import Selection

    Opener = Callable[[CopyItem], Reader]

_SECOND = 1_000_000_000


class Owner(Value):
    """Numeric ids given by --chown."""

    uid: int
    gid: int


class CopyOptions(Value):
    """How files are put: --chown, --chmod, the time of new folders, and the latest time allowed."""

    owner: Owner | None = None
    mode: str = ""
    time_ns: int = 0
    clamp_ns: int | None = None

    def folder_mode(self) -> int:
        """That of folders which are made on the way: an octal --chmod holds for them too (BuildKit)."""
        mode = octal(self.mode)
        return 0o755 if mode is None else mode

    def changed(self, item: CopyItem) -> int:
        """The mode of a file that is copied."""
        if not self.mode or item.kind == "symlink":
            return item.mode
        mode = octal(self.mode)
        return apply(self.mode, item.mode, item.kind == "dir") if mode is None else mode

    def whole(self, time_ns: int) -> int:
        """A time as layers keep it: whole seconds, none later than the clamp."""
        if self.clamp_ns is not None:
            time_ns = min(time_ns, self.clamp_ns)
        return time_ns // _SECOND * _SECOND


class LayerTarget:
    """An image being written to: `lookup` sees the layers beneath and, above them, what was put so far."""

    def __init__(
        self, lower: Callable[[bytes], CopyItem | None], terms: CopyOptions, *, any_name: bool = False
    ) -> None:  # fmt: skip
        """`any_name`: it becomes no layer, so a file may be called as a whiteout is."""
        self._lower, self._terms, self._any_name = lower, terms, any_name
        self._put: dict[bytes, tuple[CopyItem, Opener | None]] = {}
        self._new = {b""} if lower(b"") is None else set()
        self._round = 0

    def lookup(self, path: bytes) -> CopyItem | None:
        """What is at a canonical path now."""
        put = self._put.get(path)
        if put is not None:
            return put[0]
        if not path:
            return self._lower(b"") or CopyItem(b"", "dir", 0o755, self._terms.time_ns)
        above = path.rpartition(b"/")[0]
        if above in self._new or (above in self._put and self._put[above][0].kind != "dir"):
            return None
        return self._lower(path)

    def resolve(self, path: bytes) -> tuple[bytes, CopyItem | None]:
        """A destination with its links followed. Raises UsageError."""
        return resolve(self.lookup, path)

    def folder(self, path: bytes, *, mode: int | None = None, of_root: bool = False) -> bytes:
        """Make a folder and those above it unless they exist; its canonical path. Raises UsageError.

        `of_root`: whatever --chown says.
        """
        at = b""
        for part in [part for part in path.split(b"/") if part not in (b"", b".")]:
            at, found = self.resolve(at + b"/" + part)
            if found is None:
                if at.rpartition(b"/")[0]:
                    self.folder(at.rpartition(b"/")[0], mode=mode, of_root=of_root)
                wanted = self._terms.folder_mode() if mode is None else mode
                made = CopyItem(at, "dir", wanted, self._terms.time_ns)
                self._keep(at, made, None, None if of_root else self._terms.owner)
            elif found.kind != "dir":
                raise UsageError(f"{show(at)} is not a directory")
        return at

    def put(self, chosen: Selection, destination: bytes, opener: Opener) -> None:
        """Copy one source to an absolute destination. Raises UsageError."""
        self._round += 1
        if destination.endswith(b"/"):
            self.folder(destination)
        else:
            self.folder(destination.rpartition(b"/")[0])
        at, found = self.resolve(destination)
        if chosen.is_folder:
            self._put_folder(chosen, at, found, opener)
        else:
            self._put_file(chosen.name, chosen.files[0][1], at, found, opener)

    def _put_folder(self, chosen: Selection, at: bytes, found: CopyItem | None, opener: Opener) -> None:
        if found is not None and found.kind != "dir":
            raise UsageError(f"cannot copy to non-directory: {show(at)}")
        at = self.folder(at)
        for relative, item in chosen.files:
            if relative:
                self._one(at + b"/" + relative if at else relative, item, opener)

    def _put_file(
        self, name: bytes, item: CopyItem, at: bytes, found: CopyItem | None, opener: Opener
    ) -> None:
        if found is not None and found.kind == "dir":
            if not name:
                source = item.path.decode("utf-8", "replace")
                raise UsageError(f"cannot determine filename for source {source}")
            at = at + b"/" + name if at else name
        self.folder(at.rpartition(b"/")[0])
        self._one(at, item, opener)

    def _one(self, path: bytes, item: CopyItem, opener: Opener) -> None:
        there = self.lookup(path)
        if there is not None and (there.kind == "dir") != (item.kind == "dir"):
            if there.kind == "dir":
                raise UsageError(f"cannot replace to directory {show(path)} with file")
            raise UsageError(f"cannot copy to non-directory: {show(path)}")
        self.add(path, item, opener)

    def add(self, path: bytes, item: CopyItem, opener: Opener | None, *, as_is: bool = False) -> None:
        """Put one file at a canonical path whose folder exists; `as_is`: mode and identity stay its own.

        Hard links are kept among the files of one source, as docker does.
        """
        identity = item.identity if as_is or item.identity is None else (self._round, *item.identity)
        put = CopyItem(
            path, item.kind, item.mode if as_is else self._terms.changed(item),
            self._terms.whole(item.mtime_ns), uid=item.uid, gid=item.gid, size=item.size, link=item.link,
            major=item.major, minor=item.minor, identity=identity, stamp=item.stamp, xattrs=item.xattrs,
        )  # fmt: skip
        self._keep(path, put, opener and (lambda _: opener(item)), self._terms.owner)

    def _keep(self, path: bytes, item: CopyItem, opener: Opener | None, owner: Owner | None) -> None:
        if not self._any_name and any(part.startswith(WHITEOUT) for part in path.split(b"/")):
            raise UsageError(
                f"{show(path)} cannot be stored in a layer: names there must not begin with .wh."
            )
        if owner is not None:
            item.uid, item.gid = owner.uid, owner.gid
        before = self._put.get(path)
        if before is not None and before[0].kind == "dir" and item.kind != "dir":
            self._forget_below(path)
        if item.kind == "dir" and before is None and self.lookup(path) is None:
            self._new.add(path)
        self._put[path] = (item, opener)

    @property
    def files(self) -> dict[bytes, tuple[CopyItem, Opener | None]]:
        """Everything put, by canonical path."""
        return self._put

    def put_at(self, path: bytes) -> tuple[CopyItem, Opener | None] | None:
        """What was put at a canonical path."""
        return self._put.get(path)

    def _forget_below(self, path: bytes) -> None:
        for other in [other for other in self._put if other.startswith(path + b"/")]:
            del self._put[other]

    def entries(self) -> Iterator[tuple[Entry, Reader | None]]:
        """Everything put, with the folders above, sorted by path; contents are opened one at a time."""
        self._add_folders_above()
        names: dict[tuple[int, ...], bytes] = {}
        for path in sorted(self._put):
            item, opener = self._put[path]
            first = names.setdefault(item.identity, path) if item.identity else path
            if first != path:
                yield _entry(path, item)._replace(kind="hardlink", size=0, link=first), None
            else:
                reader = opener(item) if opener and item.kind == "file" else None
                yield _entry(path, item), reader

    def _add_folders_above(self) -> None:
        for path in list(self._put):
            above = path.rpartition(b"/")[0]
            while above and above not in self._put:
                found = self._lower(above)
                if found is not None and found.kind == "dir":
                    found.mtime_ns = self._terms.whole(found.mtime_ns)
                    self._put[above] = (found, None)
                above = above.rpartition(b"/")[0]


def _entry(path: bytes, item: CopyItem) -> Entry:
    return Entry(
        path, item.kind, item.mode, item.uid, item.gid, item.mtime_ns, item.size, item.link, item.major,
        item.minor, item.xattrs,
    )  # fmt: skip
