"""Image archives from descriptions: images with their names and layers, in each form that some tool writes.

`FORMS` lay out the same images as docker, podman, buildkit or an OCI tool would; `pack` makes a tar of the
files. Written with Python's own tar. Sources: docker image-spec v1.0 to v1.2, OCI image-layout.md,
containers-transports(5).
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from typing import Any, NamedTuple

import zstandard

Layer = dict[str, bytes]
"""What a layer brings, by path; the name of a whiteout is written out."""
Files = dict[str, bytes]
"""What an archive holds; a value that begins with LINK is where a link leads."""
LINK = b"-> "
_OCI = "application/vnd.oci.image."


class Picture(NamedTuple):
    """One image: its names, its layers from the lowest, and what is to be seen in it."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    seen: Layer


def hexed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar(files: Layer) -> bytes:
    """A layer. Folders are not listed: they are made on the way."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as made:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def config(picture: Picture) -> bytes:
    diff_ids = ["sha256:" + hexed(tar(layer)) for layer in picture.layers]
    return json.dumps({
        "os": "linux", "architecture": "amd64", "config": {"Cmd": ["run"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": [{"created_by": "x"}] * len(diff_ids),
    }).encode()  # fmt: skip


def old_docker(pictures: list[Picture]) -> Files:
    """Up to docker 24: a folder for each layer, with papers of the time before, and a list of images."""
    files: Files = {}
    rows = []
    for picture in pictures:
        paths = [f"{hexed(tar(layer) + bytes([n]))}/layer.tar" for n, layer in enumerate(picture.layers)]
        for path, layer in zip(paths, picture.layers, strict=True):
            above = path.removesuffix("layer.tar")
            files |= {f"{above}VERSION": b"1.0", f"{above}json": b"{}", path: tar(layer)}
        files[f"{hexed(config(picture))}.json"] = config(picture)
        rows.append(_row(picture, f"{hexed(config(picture))}.json", paths))
    return files | {"manifest.json": json.dumps(rows).encode(), "repositories": b"{}"}


def linked_docker(pictures: list[Picture]) -> Files:
    """A layer that lies there already is a link to it."""
    files, first = old_docker(pictures), dict[bytes, str]()
    for path, data in files.items():
        if path.endswith("/layer.tar") and first.setdefault(data, path) != path:
            files[path] = LINK + f"../{first[data]}".encode()
    return files


def flat_docker(pictures: list[Picture]) -> Files:
    """As podman and skopeo write it: each layer at the top by its digest, once."""
    files: Files = {}
    rows = []
    for picture in pictures:
        paths = [f"{hexed(tar(layer))}.tar" for layer in picture.layers]
        files |= {path: tar(layer) for path, layer in zip(paths, picture.layers, strict=True)}
        files[f"{hexed(config(picture))}.json"] = config(picture)
        rows.append(_row(picture, f"{hexed(config(picture))}.json", paths))
    return files | {"manifest.json": json.dumps(rows).encode()}


def squeezed_docker(pictures: list[Picture]) -> Files:
    """As bazel writes it: gzipped layers, the config without an ending."""
    files = flat_docker(pictures)
    rows = json.loads(files.pop("manifest.json"))
    for row in rows:
        files["sha256:" + row["Config"].removesuffix(".json")] = files[row["Config"]]
        row["Config"] = "sha256:" + row["Config"].removesuffix(".json")
        row["Layers"] = [f"{path}.gz" for path in row["Layers"]]
    packed = {
        f"{path}.gz": gzip.compress(data, mtime=0) for path, data in files.items() if path.endswith(".tar")
    }
    return {path: data for path, data in files.items() if ":" in path} | packed | {
        "manifest.json": json.dumps(rows).encode()
    }  # fmt: skip


def first_docker(pictures: list[Picture]) -> Files:
    """Docker before 1.10: no list, but names, and each layer knows the one below."""
    names: dict[str, dict[str, str]] = {}
    files: Files = {}
    for picture in pictures:
        below, salt = "", "".join(picture.names).encode()
        for layer in picture.layers:
            own = hexed(below.encode() + tar(layer) + salt)
            row = {"id": own, "os": "linux", "architecture": "amd64"} | ({"parent": below} if below else {})
            files |= {f"{own}/json": json.dumps(row).encode(), f"{own}/layer.tar": tar(layer)}
            below = own
        for name in picture.names:
            repository, _, tag = name.rpartition(":")
            names.setdefault(repository, {})[tag] = below
    return files | {"repositories": json.dumps(names).encode()}


def oci(pictures: list[Picture]) -> Files:
    """An OCI layout; each name is an entry of its own, containerd's annotation has it whole."""
    files, entries = _blobs(pictures)
    return files | _layout([
        {**entry, "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "x"}}
        for picture, entry in zip(pictures, entries, strict=True) for name in picture.names
    ] + [entry for picture, entry in zip(pictures, entries, strict=True) if not picture.names])  # fmt: skip


def oci_by_reference(pictures: list[Picture]) -> Files:
    """As podman writes it: the annotation of OCI has the whole name."""
    files, entries = _blobs(pictures)
    return files | _layout([
        {**entry, "annotations": {"org.opencontainers.image.ref.name": name} if name else {}}
        for picture, entry in zip(pictures, entries, strict=True) for name in picture.names or ("",)
    ])  # fmt: skip


def nested_oci(pictures: list[Picture]) -> Files:
    """As buildkit writes it: an index of platforms between the layout's and the image."""
    files, entries = _blobs(pictures)
    rows = []
    for picture, entry in zip(pictures, entries, strict=True):
        platform = {"os": "linux", "architecture": "amd64"}
        inner = _document("index", manifests=[{**entry, "platform": platform}])
        files[f"blobs/sha256/{hexed(inner)}"] = inner
        names = [{"io.containerd.image.name": name} for name in picture.names] or [{}]
        rows += [{**_described(inner, "index.v1+json"), "annotations": notes} for notes in names]
    return files | _layout(rows)


def docker_25(pictures: list[Picture]) -> Files:
    """Both at once: a layout, and a list that names its blobs."""
    files = oci(pictures)
    rows = [
        _row(
            each,
            f"blobs/sha256/{hexed(config(each))}",
            [f"blobs/sha256/{hexed(tar(x))}" for x in each.layers],
        )
        for each in pictures
    ]
    return files | {"manifest.json": json.dumps(rows).encode(), "repositories": b"{}"}


def _row(picture: Picture, config: str, layers: list[str]) -> dict[str, Any]:
    return {"Config": config, "RepoTags": [*picture.names] or None, "Layers": layers}


def _described(data: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": _OCI + kind, "digest": "sha256:" + hexed(data), "size": len(data)}


def _document(kind: str, **fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": f"{_OCI}{kind}.v1+json", **fields}).encode()


def _blobs(pictures: list[Picture]) -> tuple[Files, list[dict[str, Any]]]:
    files: Files = {}
    entries = []
    for picture in pictures:
        layers = [tar(layer) for layer in picture.layers]
        described = [_described(layer, "layer.v1.tar") for layer in layers]
        whole = config(picture)
        manifest = _document("manifest", config=_described(whole, "config.v1+json"), layers=described)
        files |= {f"blobs/sha256/{hexed(data)}": data for data in (*layers, whole, manifest)}
        entries.append(_described(manifest, "manifest.v1+json"))
    return files, entries


def _layout(rows: list[dict[str, Any]]) -> Files:
    index = json.dumps({"schemaVersion": 2, "manifests": rows}).encode()
    return {"index.json": index, "oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}


FORMS: dict[str, Callable[[list[Picture]], Files]] = {
    "docker to 24": old_docker, "docker with links": linked_docker, "docker before 1.10": first_docker,
    "podman's docker-archive": flat_docker, "bazel": squeezed_docker, "docker from 25": docker_25, "oci": oci,
    "podman's oci-archive": oci_by_reference, "buildkit": nested_oci,
}  # fmt: skip
LOW, HIGH = {"a": b"low", "d/b": b"low", "d/c": b"low"}, {"a": b"high", "e": b"new"}
BOTH = LOW | HIGH
PICTURES: dict[str, list[Picture]] = {
    "one layer": [Picture(("app:1",), (LOW,), LOW)],
    "no name": [Picture((), (LOW,), LOW)],
    "no layers": [Picture(("empty:1",), (), {})],
    "two names": [Picture(("app:1", "host.test:5000/x/app:2"), (LOW, HIGH), BOTH)],
    "two images": [Picture(("one:1",), (LOW,), LOW), Picture(("two:1",), (LOW, HIGH), BOTH)],
    "one layer twice": [Picture(("twice:1",), (LOW, HIGH, LOW), BOTH | LOW)],
    "an empty layer": [Picture(("hollow:1",), ({}, LOW, {}), LOW)],
    "whiteouts": [Picture(("gone:1",), (LOW, {".wh.a": b"", "d/.wh.b": b""}), {"d/c": b"low"})],
    "a folder removed": [Picture(("gone:2",), (LOW, {".wh.d": b"", "d/n": b"n"}),
    {"a": b"low", "d/n": b"n"})],
    "an opaque folder": [Picture(("gone:3",), (LOW, {"d/.wh..wh..opq": b""}), {"a": b"low"})],
    "a whiteout and back": [Picture(("back:1",), (LOW, {".wh.a": b""}, {"a": b"3"}), LOW | {"a": b"3"})],
}  # fmt: skip
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes, "gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress,
    "zstd": zstandard.compress,
}  # fmt: skip


def pack(files: Files, *, prefix: str = "", backwards: bool = False, folders: bool = False) -> bytes:
    """A tar of them; what must be known first may come last."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for above in sorted({path.rpartition("/")[0] for path in files} - {""}) if folders else []:
            info = tarfile.TarInfo(prefix + above)
            info.type = tarfile.DIRTYPE
            made.addfile(info)
        for path in sorted(files, reverse=backwards):
            _add(made, prefix + path, files[path])
    return out.getvalue()


def _add(made: tarfile.TarFile, path: str, data: bytes) -> None:
    info = tarfile.TarInfo(path)
    if data.startswith(LINK):
        info.type, info.linkname = tarfile.SYMTYPE, data.removeprefix(LINK).decode()
        made.addfile(info)
    else:
        info.size = len(data)
        made.addfile(info, io.BytesIO(data))


def skopeo_dir(picture: Picture) -> Files:
    """`dir:` of skopeo: a manifest, and each blob by its hexadecimal digest."""
    files, (entry,) = _blobs([picture])
    named = {path.rpartition("/")[2]: data for path, data in files.items()}
    manifest = named.pop(entry["digest"].removeprefix("sha256:"))
    return named | {"manifest.json": manifest, "version": b"Directory Transport Version: 1.1\n"}
