"""The least that a pull can do: fetch, sha256, write, gunzip, sha256, write. Two threads a layer, no files.

`python floor.py HOST:PORT REPOSITORY TAG FOLDER`: what a pull is compared with, not a peer.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from isal import isal_zlib

_CHUNK = 1 << 18
_OCI = "application/vnd.oci.image.manifest.v1+json"
_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


def main() -> None:
    """All layers side by side."""
    host, repository, tag, folder = sys.argv[1:]
    os.makedirs(folder)
    connection = http.client.HTTPConnection(host)
    connection.request("GET", f"/v2/{repository}/manifests/{tag}", headers={"Accept": f"{_OCI}, {_DOCKER}"})
    layers = json.loads(connection.getresponse().read())["layers"]
    threads = []
    for layer in layers:
        queue: SimpleQueue[bytes] = SimpleQueue()
        name = f"{folder}/{layer['digest'][7:]}"
        threads.append(Thread(target=_fetch, args=(host, repository, layer["digest"], name, queue)))
        threads.append(Thread(target=_unpack, args=(name + ".tar", queue)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _fetch(host: str, repository: str, digest: str, path: str, queue: SimpleQueue[bytes]) -> None:
    connection = http.client.HTTPConnection(host)
    connection.request("GET", f"/v2/{repository}/blobs/{digest}")
    response = connection.getresponse()
    hashing = hashlib.sha256()
    with Path(path).open("wb", buffering=0) as file:
        while data := response.read(_CHUNK):
            _take(hashing, data)
            file.write(data)
            queue.put(data)
    queue.put(b"")
    assert "sha256:" + hashing.hexdigest() == digest


def _unpack(path: str, queue: SimpleQueue[bytes]) -> None:
    unpacking = isal_zlib.decompressobj(31)
    hashing = hashlib.sha256()
    with Path(path).open("wb", buffering=0) as file:
        while data := queue.get():
            plain = unpacking.decompress(data)
            _take(hashing, plain)
            file.write(plain)


def _take(hashing: Any, data: bytes) -> None:
    """As `nacre.words.digest.take`."""
    hashlib.sha512().digest()
    hashing.update(data)


if __name__ == "__main__":
    main()
