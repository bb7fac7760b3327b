"""Documents that lie, and content that never ends."""

from __future__ import annotations

import gzip
import json
import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest
from evil import INDEX, MANIFEST, OCI, Image, Layer, digest_of, leftovers, sentence
from fakeregistry import Exchange, FakeRegistry

MANY = 4 << 20


def test_cve_2021_41190_no_document_is_two_things(nacre: Any, fake: FakeRegistry, busybox_image: str) -> None:
    """One document that is a manifest to one reader and an index to the next."""
    image = Image(Layer().file("f").bytes())
    for media_type in (MANIFEST, INDEX):
        both = dict(image.manifest, mediaType=media_type, manifests=[])
        fake.add_manifest("evil", "1", json.dumps(both).encode(), media_type)
        assert "both" in sentence(nacre("pull", f"{fake.host}/evil:1", check=False))
        image.manifest = both
        assert "both" in sentence(nacre("load", input=image.archive(), check=False))
        image = Image(Layer().file("f").bytes())
    fake.add_manifest("evil", "1", image.document, INDEX)
    assert "served as" in sentence(nacre("pull", f"{fake.host}/evil:1", check=False))


@pytest.mark.parametrize("where", ["manifest", "config", "index", "archive"])
def test_cve_2023_25153_documents_are_bounded(
    nacre: Any, fake: FakeRegistry, busybox_image: str, where: str
) -> None:
    """containerd read an image's index of any size into memory."""
    image = Image(Layer().file("f").bytes())
    if where == "config":
        image.manifest["config"] = image.blob(b'{"os": "linux"}' + b" " * MANY, f"{OCI}.config.v1+json")
    if where in ("manifest", "archive"):
        image.manifest["annotations"] = {"x": "y" * MANY}
    reference = image.publish(fake)
    if where == "index":
        entry = {"mediaType": MANIFEST, "digest": digest_of(image.document), "size": len(image.document)}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] * (MANY // 100)}
        fake.add_manifest("evil", "1", json.dumps(index).encode(), INDEX)
    if where == "archive":
        said = sentence(nacre("load", input=image.archive(), check=False))
    else:
        said = sentence(nacre("pull", reference, check=False))
    assert "allowed" in said or "more than" in said, said


def test_cve_2017_14992_a_bomb_costs_no_memory(nacre: Any, busybox_image: str) -> None:
    """docker: a megabyte of gzip that becomes a gigabyte; read in pieces, it is only slow.

    The address space of the command is limited to less than what the bomb holds.
    """
    bomb = gzip.compress(bytes(1 << 26), 9) * 16

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 29, 1 << 29))

    for tar in (bomb, gzip.compress(Layer().file("f").bytes()) + bomb):
        process = nacre.start("import", "-", "bomb:1", stdin=-1, preexec_fn=limit)
        _, err = process.communicate(tar, timeout=180)
        assert b"Traceback" not in err
        assert b"internal error" not in err
        assert process.returncode in (0, 1), err
    assert leftovers(nacre.root) == []


def test_cve_2017_14992_a_bomb_of_json(nacre: Any, fake: FakeRegistry, busybox_image: str) -> None:
    """Nesting that would exhaust the stack of a parser."""
    for bomb in (b"[" * 1_000_000, b'{"a":' * 500_000, b'{"schemaVersion": 2, "x": ' + b"[" * 500_000):
        fake.add_manifest("evil", "1", bomb, MANIFEST)
        sentence(nacre("pull", f"{fake.host}/evil:1", check=False))
        tar = Layer().file("oci-layout", b"{}").file("index.json", bomb).file("manifest.json", bomb)
        sentence(nacre("load", input=tar.bytes(), check=False))


def test_cve_2021_20291_a_layer_that_stalls_blocks_nobody(
    nacre: Any, fake: FakeRegistry, busybox_image: str, busybox_tar: bytes, tmp_path: Path
) -> None:
    """containers/storage: who decompressed held the lock of the store. Here all others go on meanwhile."""
    layer = gzip.compress(Layer().file("f", os.urandom(100_000)).bytes())
    image = Image()
    image.manifest["layers"] = [image.blob(layer, f"{OCI}.layer.v1.tar+gzip")]
    config = {"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(gzip.decompress(layer))]}}
    image.manifest["config"] = image.blob(json.dumps(config).encode(), f"{OCI}.config.v1+json")
    reference = image.publish(fake)
    stalled, go_on = threading.Event(), threading.Event()

    def stall(x: Exchange) -> bool:
        x.send_response(200)
        x.send_header("content-length", str(len(layer)))
        x.end_headers()
        x.wfile.write(layer[:50_000])
        x.wfile.flush()
        stalled.set()
        go_on.wait(600)
        x.wfile.write(layer[50_000:])
        return True

    fake.on("GET", digest_of(layer), stall)
    (tmp_path / "patient.toml").write_text('stall-timeout = "10m"\n')
    nacre.env["NACRE_CONFIG"] = str(tmp_path / "patient.toml")
    pulling = nacre.start("pull", reference)
    try:
        assert stalled.wait(60)
        nacre("tag", busybox_image, "other:1")
        nacre("import", "-", "third:1", input=Layer().file("g").bytes())
        nacre("load", input=Image(busybox_tar).archive("fourth:1"))
        assert nacre("run", "--rm", "other:1", "echo", "ran").out == "ran\n"
        nacre("build", "-t", "fifth:1", "-", input="FROM other:1\nRUN echo x > /x\n")
        nacre("rmi", "third:1")
        nacre("system", "prune", "-f")
        assert pulling.poll() is None
    finally:
        go_on.set()
        _, err = pulling.communicate(timeout=60)
    assert pulling.returncode == 0, err
    assert nacre("image", "inspect", reference).json


def test_cve_2020_15157_urls_are_not_followed(nacre: Any, fake: FakeRegistry, busybox_image: str) -> None:
    """containerd: a layer's `urls` were fetched, with the credentials of the registry."""
    elsewhere = FakeRegistry()
    try:
        layer = Layer().file("f").bytes()
        elsewhere.add_blob("x", layer)
        image = Image(layer)
        image.manifest["layers"][0]["urls"] = [f"http://{elsewhere.host}/v2/x/blobs/{digest_of(layer)}"]
        for media_type in (f"{OCI}.layer.v1.tar", f"{OCI}.layer.nondistributable.v1.tar"):
            image.manifest["layers"][0]["mediaType"] = media_type
            reference = image.publish(fake)
            del fake.blobs["evil", digest_of(layer)]
            sentence(nacre("pull", reference, check=False))
        assert elsewhere.requests == []
    finally:
        elsewhere.close()


def test_cve_2020_15157_credentials_stay_at_home(
    nacre: Any, fake: FakeRegistry, busybox_image: str, tmp_path: Path
) -> None:
    """A blob that the registry redirects to another host, with a password for both at hand."""
    elsewhere = FakeRegistry()
    try:
        layer = Layer().file("f").bytes()
        elsewhere.add_blob("x", layer)
        nacre("login", "-u", "me", "--password-stdin", fake.host, input="pw")
        reference = Image(layer).publish(fake)
        where = f"http://{elsewhere.host}/v2/x/blobs/{digest_of(layer)}"
        fake.on("GET", "/v2/", lambda x: False if x.headers.get("authorization") else x.reply(
            401, www_authenticate='Basic realm="here"'), times=1000)  # fmt: skip
        fake.on("GET", digest_of(layer), lambda x: x.reply(307, location=where), times=1)
        nacre("pull", reference, check=False)
        assert not [h for _, _, h in elsewhere.requests if "authorization" in {name.lower() for name in h}]
    finally:
        elsewhere.close()


def test_cve_2021_41089_and_41103_the_store_is_closed_to_others(
    nacre: Any, busybox_image: str, tmp_path: Path
) -> None:
    """docker and containerd left data roots and bundles open to every user of the machine."""
    nacre("create", "--name", "one", busybox_image, "true")
    assert nacre.root.stat().st_mode & 0o7777 == 0o700
    for name in ("blobs", "trees", "containers", "active", "ingest", "leases"):
        assert (nacre.root / name).stat().st_mode & 0o077 == 0, name
    assert all(path.stat().st_mode & 0o077 == 0 for path in nacre.root.glob("nacre.db*"))
    os.chmod(nacre.root, 0o755)
    nacre("images")
    assert nacre.root.stat().st_mode & 0o7777 == 0o700
    made = tmp_path / "made-before"
    made.mkdir(mode=0o777)
    made.chmod(0o777)
    nacre("--root", str(made), "images")
    assert made.stat().st_mode & 0o7777 == 0o700


def test_cve_2024_3154_annotations_are_no_settings(
    nacre: Any, busybox_image: str, busybox_tar: bytes
) -> None:
    """cri-o passed annotations of an image to the runtime, which took them for systemd properties."""
    notes = {
        "org.systemd.property.ExecStartPre": "['/bin/touch /owned']",
        "run.oci.handler": "wasm", "io.kubernetes.cri-o.userns-mode": "auto",
        "run.oci.mount_context_type": "context", "nacre.privileged": "true",
    }  # fmt: skip
    image = Image(
        busybox_tar, run={"Labels": notes, "Privileged": True, "Annotations": notes}, annotations=notes
    )
    nacre("load", input=image.archive("evil:1"))
    nacre("create", "--name", "one", "evil:1", "cat", "/proc/self/status")
    plain = nacre("run", "--rm", busybox_image, "grep", "Cap", "/proc/self/status").out
    assert nacre("run", "--rm", "evil:1", "grep", "Cap", "/proc/self/status").out == plain
    import sqlite3

    with sqlite3.connect(nacre.root / "nacre.db") as database:
        (text,) = database.execute("SELECT config_json FROM container").fetchone()
    database.close()
    config = json.loads(text)["config"]
    assert "owned" not in json.dumps(config)
    assert "annotations" not in config
