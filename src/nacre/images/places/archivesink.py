"""A tar that is written as it comes: an OCI image layout and, with `docker`, a docker-archive at once.

Every blob is a member as soon as it arrives, the documents that name them stand at the end. So nothing is
kept in memory, and the tar is of use only once `close` has returned.
"""

from __future__ import annotations

from threading import Lock

from ...grammars.tar.entry import Entry
from ...grammars.tar.write import TarWriter
from ...words.digest import Digest, Verifier
from ...words.errors import DigestMismatch, Unsupported
from ...words.oci import OCI_INDEX, Descriptor, Index, Manifest, encode_json, parse_document
from ...words.reference import Reference
from .layout import VERSION, name_notes, path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...grammars.tar.entry import Reader
    from ..model.source import Content
    from .layout import Notes


class ArchiveSink:
    """A `Sink` over `write`. Blobs may come from several threads; they are written one after the other.

    Under what name a manifest is put is a tag (`docker`: a reference), "" for none. Several names of one
    manifest are told one by one.
    """

    where = "archive"

    def __init__(
        self, write: Callable[[bytes], object], *, docker: bool = True, full_names: bool = False,
        notes: Notes = (),
    ) -> None:  # fmt: skip
        """`full_names`: names are references, as with `docker`; `notes` are annotations of each entry."""
        self._full, self._more = docker or full_names, notes
        self._docker, self._lock, self.keeps_tags = docker, Lock(), not docker
        self._written: set[Digest] = set()
        self._images: dict[Digest, tuple[Descriptor, Manifest | Index]] = {}
        self._names: dict[Digest, list[str]] = {}
        self._indexes: dict[str, Descriptor] = {}
        self._tar = TarWriter(write)
        for folder in (b"blobs", b"blobs/sha256"):
            self._tar.add(Entry(folder, "dir", 0o755))

    def has(self, descriptor: Descriptor) -> bool:
        """Has it been written?"""
        return descriptor.digest in self._written

    def mount(self, descriptor: Descriptor, repositories: Sequence[str]) -> str | None:
        """There are no other repositories."""
        return None

    def put(self, descriptor: Descriptor, opener: Callable[[], Content]) -> None:
        """Raises DigestMismatch, InvalidArchive; then the tar is of no use."""
        with opener() as content:
            verifier = Verifier(descriptor.digest, descriptor.size, f"blob {descriptor.digest.short}")
            self.add(descriptor, _Verifying(content, verifier))

    def add(self, descriptor: Descriptor, content: Reader) -> None:
        """As `put`, of content that is known to be right."""
        path = path_of(descriptor.digest).encode()
        with self._lock:
            if descriptor.digest not in self._written:
                self._tar.add(Entry(path, "file", 0o644, size=descriptor.size), content)
                self._written.add(descriptor.digest)

    def put_manifest(self, target: str, data: bytes, media_type: str) -> None:
        """Raises Unsupported for an index in a docker-archive, DigestMismatch."""
        document, descriptor = parse_document(data, media_type), Descriptor.of(data, media_type)
        if isinstance(target, Digest):
            descriptor = descriptor.replace(digest=Digest.of(data, target.algorithm))
            if target != descriptor.digest:
                raise DigestMismatch(target, descriptor.digest, what="a manifest")
        if self._docker and isinstance(document, Index):
            raise Unsupported(
                "a docker-archive holds one platform of an image", hint="choose it with --platform"
            )
        if self._docker and document.subject is not None:
            raise Unsupported("a docker-archive holds only images, no referrers")
        self.add(descriptor, Held(data))
        if not isinstance(target, Digest) or document.subject is not None:
            self._images.setdefault(descriptor.digest, (descriptor, document))
            names = self._names.setdefault(descriptor.digest, [])
            names += [target] if target and not isinstance(target, Digest) else []

    def attach(self, name: str, index: Descriptor) -> None:
        """Let index.json name an index that was added: of the image of this name, and what is attached."""
        self._indexes[name] = index

    def close(self) -> None:
        """Write what names the content, and the end. Not idempotent."""
        for path, document in self._documents():
            self._tar.add(Entry(path, "file", 0o644, size=len(document)), Held(document))
        self._tar.close()

    def _documents(self) -> Iterator[tuple[bytes, bytes]]:
        """index.json, manifest.json and oci-layout."""
        entries, rows = [], []
        listed = {
            entry.digest
            for _, document in self._images.values()
            for entry in (document.manifests if isinstance(document, Index) else ())
        }
        for digest, (descriptor, document) in self._images.items():
            if digest in listed and not self._names[digest]:
                continue  # an index names what refers to its images, too
            plain = Descriptor(
                descriptor.media_type, digest, descriptor.size, artifact_type=document.artifact_type
            )
            named = [
                self._indexes.get(name, plain).replace(annotations=self._notes(name))
                for name in self._names[digest]
            ]
            entries += named or [plain.replace(annotations=self._more)]
            if isinstance(document, Manifest):
                rows.append(self._row(document, self._names[digest]))
        yield b"index.json", Index(OCI_INDEX, tuple(entries)).encode()
        if self._docker:
            yield b"manifest.json", encode_json(rows)
        yield b"oci-layout", VERSION

    def _notes(self, name: str) -> tuple[tuple[str, str], ...]:
        return (*name_notes(name, full=self._full), *self._more)

    def _row(self, manifest: Manifest, names: list[str]) -> dict[str, object]:
        references = [Reference.parse(name) for name in names] if self._docker else []
        tags = [each.familiar for each in references if each.tag]
        layers = [path_of(layer.digest) for layer in manifest.layers]
        return {"Config": path_of(manifest.config.digest), "RepoTags": tags or None, "Layers": layers}


class _Verifying:
    """A reader whose last bytes come only when all were right."""

    def __init__(self, content: Reader, verifier: Verifier) -> None:
        self._content, self._verifier, self._over = content, verifier, False

    def read(self, size: int, /) -> bytes:
        data = self._content.read(size)
        if data:
            self._verifier.update(data)
        if not self._over and (not data or self._verifier.count == self._verifier.size):
            self._over = True
            self._verifier.verify()
        return data


class Held:
    """Bytes as a reader."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes of content; b"" at the end."""
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        return data
