"""Tools of the store tests: layers from values, real processes, and what a store looks like."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.write import TarWriter
from nacre.stores import Store
from nacre.stores.forkguard import resting
from nacre.words.digest import Digest
from nacre.words.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest, encode_json


def layer(*members: Entry | tuple[Entry, bytes], tail: bytes = b"") -> bytes:
    """An uncompressed layer; `tail` comes after the end marker."""
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for member in members:
        entry, data = member if not isinstance(member, Entry) else (member, b"")
        writer.add(entry._replace(size=len(data)), io.BytesIO(data) if entry.kind == "file" else None)
    writer.close()
    return out.getvalue() + tail


def file(path: str, data: bytes = b"", **fields: object) -> tuple[Entry, bytes]:
    return Entry(path.encode())._replace(**fields), data  # type: ignore[arg-type]


def folder(path: str, **fields: object) -> Entry:
    return Entry(path.encode(), "dir", 0o755)._replace(**fields)  # type: ignore[arg-type]


def link(path: str, target: str) -> Entry:
    return Entry(path.encode(), "symlink", 0o777, link=target.encode())


def make_image(store: Store, *layers: bytes, name: str = "", salt: str = "") -> Descriptor:
    """Trees, blobs and manifest of an image, named if `name` is given."""
    with store.leases.hold():
        blobs = tuple(_blob(store, data) for data in layers)
        diff_ids = [store.trees.ingest(io.BytesIO(data), Digest.of(data)) for data in layers]
        config = encode_json(
            {"os": "linux", "architecture": "amd64", "salt": salt, "rootfs": {"diff_ids": diff_ids}}
        )
        store.blobs.add(config)
        data = Manifest(OCI_MANIFEST, Descriptor.of(config, OCI_CONFIG), blobs).encode()
        store.blobs.add(data)
        descriptor = Descriptor.of(data, OCI_MANIFEST)
        if name:
            store.refs.set(name, descriptor)
    return descriptor


def _blob(store: Store, data: bytes) -> Descriptor:
    descriptor = Descriptor.of(data, OCI_LAYER)
    store.blobs.add(data, descriptor.digest)
    store.layers.record(descriptor.digest, descriptor.digest, OCI_LAYER, len(data))
    return descriptor


def is_whole(store: Store, descriptor: Descriptor) -> bool:
    """Everything that the image names is here and right."""
    from nacre.words.oci import ImageConfig, parse_document

    manifest = parse_document(store.blobs.read(descriptor.digest))
    assert isinstance(manifest, Manifest)
    config = ImageConfig.parse(store.blobs.read(manifest.config.digest))
    blobs = [store.blobs.read(blob.digest, 1 << 30) for blob in manifest.layers]
    return bool(blobs or not manifest.layers) and not store.trees.missing(config.diff_ids)


def leftovers(root: str) -> list[str]:
    """What lies about in the folders that are empty when nobody works."""
    folders = ("ingest", "trash", "active", "leases", "containers")
    inside = [f"{folder}/{name}" for folder in folders for name in os.listdir(f"{root}/{folder}")]
    return inside + [name for name in os.listdir(root) if name.startswith(".")]


class Process:
    """A function in a forked process; `wait` gives its exit status (negative: the signal)."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        sys.stdout.flush()
        with resting():
            self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                function(*args)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)

    def wait(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Poll a real condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.002)
