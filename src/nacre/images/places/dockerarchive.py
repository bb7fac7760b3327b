"""docker-archives without an index: a config, and layers as tars of any name.

They have no manifest, so one is made: the config's bytes stay (the image id is its digest), a layer that is
a plain tar is named by the diff id that the config gives it, a compressed one by what it hashes to. Source:
moby image/spec/v1.2.md.
"""

from __future__ import annotations

import io
from threading import Lock

from ...ground.work.pipe import CHUNK
from ...words.digest import Digest, Verifier
from ...words.errors import DigestMismatch, InvalidArchive, InvalidDocument, InvalidName, NotFound
from ...words.oci import OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor, ImageConfig, decode_json
from ...words.reference import Reference
from ..model.edit import make_manifest
from .layout import MAX_IMAGES, OciLayout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from ...grammars.tar.entry import Reader
    from .members import Members

_TYPES = {"": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}


def open_archive(members: Members, name: str = "") -> OciLayout | DockerArchive:
    """The image `name` of an archive of whatever form, as a `Source`. Raises InvalidArchive."""
    rows = json_of(members, "manifest.json")
    rows = rows if isinstance(rows, list) else []
    index = json_of(members, "index.json")
    if isinstance(index, dict) and index.get("manifests"):
        layout = OciLayout(members, name, "archive", tags=tags_of(rows))
        return _numbered(layout, rows) if rows and name[1:].isdecimal() else layout
    if not rows:
        raise InvalidArchive(
            "this is not an image archive: it has neither manifest.json nor index.json",
            hint="use `nacre import` for a root file system, or `nacre load` for an archive of docker "
            "before 1.10",
        )
    return DockerArchive(members, listed(rows, "manifest.json"), name)


def _numbered(layout: OciLayout, rows: list[Any]) -> OciLayout | DockerArchive:
    """The image that `@` and a number mean: numbers are those of manifest.json, whatever else there is."""
    row = _chosen(rows, layout.name)
    config = row.get("Config") if isinstance(row, dict) else None
    entry = layout.of_config(str(config))
    if entry is None:
        return DockerArchive(layout.members, rows, layout.name)
    return OciLayout(layout.members, f"@{entry.digest}", layout.where)


def json_of(members: Members, path: str) -> Any:
    """A document of the archive; None if there is none."""
    data = members.small(path)
    return None if data is None else decode_json(data, path)


def listed(items: list[Any], what: str) -> list[Any]:
    """A list of bounded length. Raises InvalidArchive."""
    if len(items) > MAX_IMAGES:
        raise InvalidArchive(f"{what} lists {len(items)} images, more than the {MAX_IMAGES} allowed")
    return items


def texts(value: Any, what: str) -> list[str]:
    """A list of texts, which may be missing. Raises InvalidArchive."""
    items = value or []
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise InvalidArchive(f"manifest.json has {what} that is not a list of strings")
    return items


def reference_of(text: str) -> Reference:
    """A name out of an archive. Raises InvalidArchive."""
    try:
        return Reference.parse(text)
    except InvalidName as error:
        raise InvalidArchive(f"the archive has a bad name: {error.message}") from None


def tags_of(rows: list[Any]) -> dict[str, list[Reference]]:
    """RepoTags of a manifest.json by Config."""
    return {
        str(row.get("Config")): [reference_of(text) for text in texts(row.get("RepoTags"), "RepoTags")]
        for row in rows
        if isinstance(row, dict)
    }


def config_of(members: Members, row: Any) -> tuple[bytes, ImageConfig, list[tuple[str, Digest]]]:
    """The config of an entry of manifest.json, and its layers: their paths with their diff ids."""
    if not isinstance(row, dict) or not isinstance(row.get("Config"), str):
        raise InvalidArchive("manifest.json has an entry without Config")
    data = members.small(row["Config"])
    if data is None:
        raise InvalidArchive(f"the archive has no {row['Config'][:200]}")
    config, paths = ImageConfig.parse(data), texts(row.get("Layers"), "Layers")
    if len(paths) != len(config.diff_ids):
        raise InvalidDocument(f"the archive has {len(paths)} layers, its config {len(config.diff_ids)}")
    return data, config, list(zip(paths, config.diff_ids, strict=True))


class DockerArchive:
    """One image of a docker-archive as a `Source`; `name` is a reference, `@` and a number, or ""."""

    where = "archive"

    def __init__(self, members: Members, rows: list[Any], name: str) -> None:
        self.members, self._row, self._lock = members, _chosen(rows, name), Lock()
        self._paths: dict[Digest, str] = {}
        self._made: tuple[Descriptor, bytes] | None = None
        self._config: tuple[Digest, bytes] | None = None

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """The manifest made for it. Raises NotFound for another digest, InvalidArchive, ContentError."""
        with self._lock:
            self._made = self._made or self._make()
        if reference.digest not in (None, self._made[0].digest):
            raise NotFound(f"the archive has no {reference.digest}")
        return self._made

    def _make(self) -> tuple[Descriptor, bytes]:
        data, config, rows = config_of(self.members, self._row)
        layers = [self._layer(path, diff_id) for path, diff_id in rows]
        manifest, _ = make_manifest(config, layers, config_data=data)
        self._config = (manifest.config.digest, data)
        encoded = manifest.encode()
        return Descriptor.of(encoded, manifest.media_type), encoded

    def _layer(self, path: str, diff_id: Digest) -> Descriptor:
        from ...grammars.codecs.stream import sniff

        size = self.members.size(path)
        if size is None:
            raise InvalidArchive(f"the archive has no {path[:200]}")
        with self.members.open(path) as content:
            codec = sniff(content.read(6)) if size else ""
        if (codec or "") not in _TYPES:
            raise InvalidArchive(f"layer {path[:200]} is compressed with {codec}, which no registry supports")
        digest = self._hashed(path) if codec else diff_id
        self._check(path, diff_id, plain=not codec)
        self._paths[digest] = path
        return Descriptor(_TYPES[codec or ""], digest, size)

    def _check(self, path: str, diff_id: Digest, *, plain: bool) -> None:
        """Is a file what the config says? A plain one is hashed when it is read, unless two are to be it."""
        other = self._paths.get(diff_id, path)
        wanted = ([] if other == path else [other, path]) if plain else [path]
        for each in wanted:
            self._verify(each, diff_id)

    def _verify(self, path: str, diff_id: Digest) -> None:
        from ...grammars.codecs.stream import decompress

        try:
            with self.members.open(path) as content:
                verify(decompress(content), diff_id)
        except DigestMismatch as error:
            raise DigestMismatch(error.expected, error.actual, what=f"layer {path[:200]}") from None

    def _hashed(self, path: str) -> Digest:
        with self.members.open(path) as content:
            return verify(content)

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """The config or a layer. Raises NotFound."""
        if self._config and descriptor.digest == self._config[0]:
            return io.BytesIO(self._config[1][offset:])
        path = self._paths.get(descriptor.digest)
        if path is None:
            raise NotFound(f"blob {descriptor.digest} is not in the archive")
        content = self.members.open(path)
        content.seek(offset)
        return content


def verify(content: Reader, expected: Digest | None = None) -> Digest:
    """Read everything; its digest. Raises DigestMismatch for another than expected, InvalidArchive."""
    verifier = Verifier(expected)
    while data := content.read(CHUNK):
        verifier.update(data)
    return verifier.verify()


def _chosen(rows: list[Any], name: str) -> Any:
    """The row of manifest.json that a name means; of "" the only one. Raises NotFound."""
    if name.startswith("@") and name[1:].isdecimal() and int(name[1:10]) < len(rows):
        return rows[int(name[1:10])]
    there = [texts(row.get("RepoTags"), "RepoTags") if isinstance(row, dict) else [] for row in rows]
    if not name and len(rows) == 1:
        return rows[0]
    wanted = Reference.parse(name) if name and not name.startswith("@") else None
    for row, names in zip(rows, there, strict=True):
        if wanted and wanted in map(reference_of, names):
            return row
    shown = ", ".join(sorted({text for names in there for text in names})[:20]) or "none with a name"
    what = f"no image {name!r}" if name else f"{len(rows)} images"
    raise NotFound(f"the archive has {what}", hint=f"there is {shown}")
