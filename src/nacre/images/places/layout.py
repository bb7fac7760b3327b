"""OCI image layouts: a folder or a tar whose `index.json` names what `blobs/` holds.

    oci-layout                  {"imageLayoutVersion": "1.0.0"}
    index.json                  an index; an entry is named by its annotation `…image.ref.name`
    blobs/<algorithm>/<hex>     manifests, configs, layers

What is read is bounded and verified, and links are followed inside the layout only. Source: OCI image-spec,
image-layout.md; containerd's annotation for full names.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from ...ground.files import Root, os_errors, random_name, trace, write_all
from ...ground.work.pipe import CHUNK
from ...words.digest import Digest, Verifier
from ...words.errors import DigestMismatch, InvalidArchive, InvalidDocument, InvalidName, NotFound, UsageError
from ...words.oci import (
    DOCUMENT_TYPES,
    MAX_DOCUMENT,
    OCI_INDEX,
    Descriptor,
    Index,
    decode_json,
    encode_json,
    parse_document,
)
from ...words.reference import Reference
from .members import FolderMembers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from ..model.source import Content
    from .members import Members

    Notes = tuple[tuple[str, str], ...]

NAME_KEY = "io.containerd.image.name"
REF_KEY = "org.opencontainers.image.ref.name"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
MAX_IMAGES = 1000
_DEPTH = 4
_NO_NAMES: Mapping[str, list[Reference]] = {}


class OciLayout:
    """A layout as a `Source`. `name` chooses one of several images: a tag, a full name, `@` and a digest or
    a number in the index.

    `tags` are names that a manifest.json beside the index gives, by the path of the config.
    """

    def __init__(
        self, members: Members, name: str = "", where: str = "oci", *,
        tags: Mapping[str, list[Reference]] = _NO_NAMES,
    ) -> None:  # fmt: skip
        self.members, self.name, self._where, self._tags = members, name, where, tags
        self._subjects: list[tuple[Digest, Descriptor]] | None = None

    @property
    def where(self) -> str:
        """`oci`, `archive`: no repository."""
        return self._where

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """A manifest by digest, or the one that `name` chooses. Raises NotFound, ContentError."""
        if reference.digest is not None:
            return self.manifest(reference.digest)
        if self.name.startswith("@") and not self.name[1:].isdecimal():
            return self.manifest(Digest(self.name[1:]))
        return self.listed(self.find(self.name))

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Content]:
        """A blob of the layout. Raises NotFound, InvalidArchive for one of another size than announced."""
        path = self.place(descriptor.digest)
        size = self.members.size(path)
        if size is None:
            raise NotFound(f"blob {descriptor.digest} is not in the {self._where} layout")
        if size != descriptor.size:
            raise InvalidArchive(f"blob {descriptor.digest} has {size} bytes here, not {descriptor.size}")
        content = self.members.open(path)
        content.seek(offset)
        return content

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Entries of the index whose subject is the manifest `digest`."""
        if self._subjects is None:
            self._subjects = list(self._referring())
        return tuple(
            entry for subject, entry in self._subjects
            if subject == digest and artifact_type in ("", entry.artifact_type)
        )  # fmt: skip

    def _referring(self) -> Iterator[tuple[Digest, Descriptor]]:
        """What has a subject, as a registry would list it; every document is read once."""
        waiting = self.entries()
        while waiting:
            entry = waiting.pop(0)
            if not entry.digest.is_known:
                continue
            document = parse_document(self.listed(entry)[1], entry.media_type)
            if isinstance(document, Index):
                waiting += filter(_is_attached, document.manifests)
            if document.subject is not None:
                config = "" if isinstance(document, Index) else document.config.media_type
                kind = document.artifact_type or config
                found = entry.replace(annotations=document.annotations, artifact_type=kind)
                yield document.subject.digest, found

    def entries(self) -> list[Descriptor]:
        """The manifests that the index names. Raises InvalidArchive when there is no index."""
        data = self.members.small("index.json")
        if data is None:
            raise InvalidArchive("this is not an OCI image layout: it has no index.json")
        return [entry for entry in read_index(data).manifests if entry.media_type in DOCUMENT_TYPES]

    def find(self, name: str) -> Descriptor:
        """The entry of a name; of "" the only one. Raises NotFound with a list of what there is."""
        entries = self.entries()
        fitting = [entry for entry in entries if not name or self._is_named(entry, name)]
        if name.startswith("@") and name[1:].isdecimal():
            fitting = entries[int(name[1:10]) :][:1]
        if len({entry.digest for entry in fitting}) == 1:
            return fitting[0]
        what = f"no image {name!r}" if name else f"{len(fitting)} images"
        hint = f"available: {', '.join(self._names()) or 'none with a name'}"
        raise NotFound(f"the {self._where} layout has {what}", hint=hint)

    def _is_named(self, entry: Descriptor, name: str) -> bool:
        notes = dict(entry.annotations)
        if name in (notes.get(REF_KEY), notes.get(NAME_KEY)):
            return True
        try:
            wanted = Reference.parse(name)
        except InvalidName:
            return False
        return wanted in (entry_names(entry) or self.tagged(entry))

    def of_config(self, path: str) -> Descriptor | None:
        """The manifest, of the index or of one below it, whose config lies at `path`."""
        below = self.entries()
        for _ in range(_DEPTH):
            level, below = below, []
            for entry in level:
                document = parse_document(self.manifest(entry.digest, entry.media_type)[1], entry.media_type)
                if isinstance(document, Index):
                    below += [
                        e for e in document.manifests if self.members.size(path_of(e.digest)) is not None
                    ]
                elif path_of(document.config.digest) == path:
                    return entry
        return None

    def tagged(self, entry: Descriptor) -> list[Reference]:
        """The names that a manifest.json gives to an entry."""
        if not self._tags or not entry.digest.is_known:
            return []
        document = parse_document(self.listed(entry)[1], entry.media_type)
        return [] if isinstance(document, Index) else self._tags.get(path_of(document.config.digest), [])

    def _names(self) -> list[str]:
        shown = []
        for entry in self.entries():
            notes = dict(entry.annotations)
            shown += [notes.get(REF_KEY) or notes.get(NAME_KEY) or f"@{entry.digest}"]
        return sorted(set(shown))[:20]

    def listed(self, entry: Descriptor) -> tuple[Descriptor, bytes]:
        """What an entry of the index names. Raises InvalidArchive when it is not here; as `manifest`."""
        try:
            return self.manifest(entry.digest, entry.media_type)
        except NotFound as error:
            raise InvalidArchive(error.message) from None

    def manifest(self, digest: Digest, media_type: str = "") -> tuple[Descriptor, bytes]:
        """A manifest or index, verified. Raises NotFound, DigestMismatch, InvalidDocument, TooLarge."""
        data = self.members.small(self.place(digest))
        if data is None:
            raise NotFound(f"manifest {digest} is not in the {self._where} layout")
        verifier = Verifier(digest, what=f"manifest in the {self._where} layout")
        verifier.update(data)
        verifier.verify()
        return Descriptor(parse_document(data, media_type).media_type, digest, len(data)), data

    def place(self, digest: Digest) -> str:
        """Where a blob lies: in a layout, or by its hexadecimal digits (the `dir:` form of skopeo)."""
        path = path_of(digest)
        return digest.hex if self.members.size(path) is None and self.members.size(digest.hex) else path


def read_index(data: bytes) -> Index:
    """An index.json, which need not say what it is. Raises InvalidDocument, TooLarge, InvalidArchive."""
    fields = decode_json(data, "index.json")
    if not isinstance(fields, dict):
        raise InvalidDocument("index.json is not an object")
    index = parse_document(encode_json({"schemaVersion": 2, "manifests": [], **fields}), OCI_INDEX)
    assert isinstance(index, Index)
    if len(index.manifests) > MAX_IMAGES:
        count = len(index.manifests)
        raise InvalidArchive(f"index.json lists {count} images, more than the {MAX_IMAGES} allowed")
    return index


def path_of(digest: Digest) -> str:
    """Where a layout keeps a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def entry_names(entry: Descriptor) -> list[Reference]:
    """The name in the annotations of an index entry: containerd's, else the OCI one if it is a reference."""
    notes = dict(entry.annotations)
    try:
        name = notes.get(NAME_KEY) or notes.get(REF_KEY)
        return [Reference.parse(name)] if name else []
    except InvalidName:
        return []


def name_notes(name: str, *, full: bool) -> Notes:
    """The annotations of an entry that is called `name`; of a `full` one, a reference, its tag as well."""
    if not full:
        return ((REF_KEY, name),)
    tag = Reference.parse(name).tag
    return tuple((key, text) for key, text in ((NAME_KEY, name), (REF_KEY, tag)) if text)


class LayoutFolder(OciLayout):
    """A layout in a folder as a `Sink` too, made if absent. `close` it.

    Blobs appear whole and verified by a rename; index.json is replaced in one step, under a lock of the
    folder, so several processes may write to one layout.
    """

    def __init__(self, path: str, name: str = "", *, full_names: bool = False, notes: Notes = ()) -> None:
        """`full_names`: names are references; `notes` are annotations of each entry that is named.

        Raises StoreError, and UsageError for a folder of other things.
        """
        self._full, self._more = full_names, notes
        with os_errors(f"make the OCI layout {path}"):
            os.makedirs(path, exist_ok=True)
            self._root = Root(path)
        self._folder = FolderMembers(path)
        super().__init__(self._folder, name)
        self._prepare(path)

    def _prepare(self, path: str) -> None:
        if self.members.small("oci-layout") is not None:
            return
        with self._locked():  # others may be making it
            if self.members.small("oci-layout") is None:
                if any(not name.startswith(".oci-layout.") for name in os.listdir(path)):
                    raise UsageError(f"{path} is neither empty nor an OCI layout")
                self._write("oci-layout", VERSION)

    def has(self, descriptor: Descriptor) -> bool:
        """Is it there with this size?"""
        return self.members.size(path_of(descriptor.digest)) == descriptor.size

    def mount(self, descriptor: Descriptor, repositories: Sequence[str]) -> str | None:
        """There are no other repositories."""
        return None

    def put(self, descriptor: Descriptor, opener: Callable[[], Content]) -> None:
        """Raises DigestMismatch, TooLarge, StoreError."""
        verifier = Verifier(descriptor.digest, descriptor.size, f"blob {descriptor.digest.short}")
        with opener() as content, self._replacing(path_of(descriptor.digest)) as fd:
            while data := content.read(CHUNK):
                verifier.update(data)
                write_all(fd, data)
            verifier.verify()

    def put_manifest(self, target: str, data: bytes, media_type: str) -> None:
        """Under a name, or "" for none; by digest it is named only if it has a subject: nothing else does."""
        entry = Descriptor.of(data, media_type)
        if isinstance(target, Digest) and target != Digest.of(data, target.algorithm):
            raise DigestMismatch(target, entry.digest, what="a manifest")
        digest = target if isinstance(target, Digest) else entry.digest
        self._write(path_of(digest), data)
        document = parse_document(data, media_type)
        if not isinstance(target, Digest):
            within = document.manifests if isinstance(document, Index) else ()
            self._list(entry, target, {str(each.digest) for each in within if _is_attached(each)})
        elif document.subject is not None:
            self._list(entry.replace(digest=digest, artifact_type=document.artifact_type), "")

    def holds(self, target: str, descriptor: Descriptor) -> bool:
        """Does this name mean the manifest already?"""
        there = self.members.size(path_of(descriptor.digest)) is not None
        if self.members.small("index.json") is None or not there:
            return False
        rows = [dict(e.annotations).get(REF_KEY, "") for e in self.entries() if e.digest == descriptor.digest]
        return isinstance(target, Digest) or target in rows

    def tags(self) -> Iterator[str]:
        """The names there are."""
        if self.members.small("index.json") is not None:
            notes = (dict(entry.annotations).get(REF_KEY) for entry in self.entries())
            yield from sorted({name for name in notes if name})

    def delete(self, target: str) -> None:
        """Drop a name; blobs stay. Raises NotFound."""
        with self._locked():
            fields = self._fields()
            rows = [row for row in fields["manifests"] if _name_of(row) != target]
            if len(rows) == len(fields["manifests"]):
                raise NotFound(f"the {self._where} layout has no image {target!r}")
            self._write("index.json", encode_json(fields | {"manifests": rows}))

    def _list(self, entry: Descriptor, name: str, within: Collection[str] = ()) -> None:
        """Let the index name an entry, and no more what that names itself: `within`."""
        self._subjects = None
        with self._locked():
            fields = self._fields()
            notes = name_notes(name, full=self._full) if name else ()
            rows = [
                row
                for row in fields["manifests"]
                if not _replaced(row, entry, notes) and (_name_of(row) or row.get("digest") not in within)
            ]
            fields["manifests"] = [*rows, entry.replace(annotations=(*notes, *self._more)).to_json()]
            data = encode_json(fields)
            if len(rows) >= MAX_IMAGES or len(data) > MAX_DOCUMENT:
                raise InvalidDocument(f"the layout has {len(rows)} images, and no room for another")
            self._write("index.json", data)

    def _fields(self) -> dict[str, Any]:
        """index.json with whatever others have written into it."""
        data = self.members.small("index.json")
        if data is None:
            return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        read_index(data)
        return {"schemaVersion": 2, "manifests": [], **decode_json(data, "index.json")}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from fcntl import LOCK_EX, flock

        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root.fd)
        try:
            with os_errors("lock the OCI layout"):
                flock(fd, LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _write(self, path: str, data: bytes) -> None:
        with self._replacing(path) as fd:
            write_all(fd, data)

    @contextmanager
    def _replacing(self, path: str) -> Iterator[int]:
        """A descriptor of a new file that takes the place of `path` when the block ends well."""
        folder, _, name = path.rpartition("/")
        temporary = f".{name[:64]}.{random_name()}.part"
        with os_errors(f"write {path} of the OCI layout"):
            parent = self._parent(folder)
            try:
                yield from self._replace(parent, temporary, name)
            finally:
                os.close(parent)

    def _replace(self, parent: int, temporary: str, name: str) -> Iterator[int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o644, dir_fd=parent)
        try:
            yield fd
            trace("layout:written")
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            os.unlink(temporary, dir_fd=parent)
            raise
        finally:
            os.close(fd)

    def _parent(self, folder: str) -> int:
        """A folder of the layout, made if absent; links stay inside."""
        at = ""
        for part in filter(None, folder.split("/")):
            above = self._root.open(at or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.mkdir(part, 0o755, dir_fd=above)
            except FileExistsError:
                pass  # something else of that name is an error of the open that follows
            finally:
                os.close(above)
            at = f"{at}/{part}" if at else part
        return self._root.open(at or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the files of the layout. Idempotent."""
        self._root.close()
        self._folder.close()


def _is_attached(entry: Descriptor) -> bool:
    """Whether an entry of an index may refer to another one, as attestations do."""
    return bool(entry.artifact_type) or (entry.platform is not None and entry.platform.os == "unknown")


def _replaced(row: Any, entry: Descriptor, notes: Notes) -> bool:
    """Whether a row of index.json gives way to a new entry: the same name, or the same without one."""
    if not notes:
        return not _name_of(row) and row.get("digest") == entry.digest
    said = row.get("annotations") if isinstance(row, dict) else None
    key, name = notes[0]
    return bool((said or {}).get(key) == name)


def _name_of(row: Any) -> str:
    notes = row.get("annotations") if isinstance(row, dict) else None
    return str((notes or {}).get(REF_KEY) or "")
