"""eStargz, as the tool of its inventors writes it: the tar again without its headers; tables that lie.

The blobs in `estargz/` were made by containerd/stargz-snapshotter's estargz 0.16.3 out of small tars of
Python's: digest of the table, diff id, blob in base64.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chunked import rebuilt

from nacre.grammars.chunked.estargz import DIGEST, FOOTER, StargzTable, table_start
from nacre.grammars.chunked.forms import open_layout
from nacre.grammars.chunked.goheader import header
from nacre.grammars.chunked.layout import TableOfContents
from nacre.words.digest import Digest
from nacre.words.errors import InvalidArchive, InvalidDocument
from nacre.words.oci import OCI_LAYER_GZIP, Descriptor

Fields = dict[str, object]


def sample(style: str) -> tuple[Digest, str, bytes]:
    table, diff_id, text = (Path(__file__).parent / "estargz" / f"{style}.txt").read_text().split()
    return Digest(table), diff_id, b64decode(text)


def opened(blob: bytes, digest: Digest) -> StargzTable:
    return StargzTable(digest, len(blob), lambda start, end: blob[start:end])


@pytest.mark.parametrize("style", ["ustar", "gnu", "pax"])
def test_the_tar_comes_back_bit_for_bit(style: str) -> None:
    digest, diff_id, blob = sample(style)
    layer = Descriptor(OCI_LAYER_GZIP, Digest.of(blob), len(blob), annotations=((DIGEST, str(digest)),))
    table = open_layout(layer, lambda start, end: blob[start:end])
    assert table is not None
    tars = [rebuilt(blob, table, variant) for variant in range(table.variants)]
    assert diff_id in ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in tars]
    assert gzip.decompress(blob) in tars
    assert {b"etc/conf", b"last"} < {file.path for file in table.files}


def test_styles_that_do_not_fit_are_not_tried() -> None:
    digest, _, blob = sample("gnu")
    assert opened(blob, digest).variants == 1


def test_a_layer_without_the_note_has_no_table() -> None:
    def asked(start: int, end: int) -> bytes:
        raise AssertionError

    for notes in ((), ((DIGEST, "nonsense"),)):
        assert open_layout(Descriptor(OCI_LAYER_GZIP, Digest.of(b""), 1000, annotations=notes), asked) is None
    small = Descriptor(OCI_LAYER_GZIP, Digest.of(b""), FOOTER, annotations=((DIGEST, Digest.of(b"")),))
    assert open_layout(small, asked) is None


def test_only_a_footer_is_a_footer() -> None:
    _, _, blob = sample("ustar")
    good = blob[-FOOTER:]
    start = table_start(good, len(blob))
    assert blob[start : start + 2] == b"\x1f\x8b"
    for bad in (
        bytes(FOOTER),
        good[:16] + b"g" * 16 + good[32:],
        good[:16] + b"f" * 16 + good[32:],
        good[:16] + b"0" * 16 + good[32:],
        good[:16] + b"-000000000000001" + good[32:],
        good[:20],
    ):
        with pytest.raises(InvalidDocument):
            table_start(bad, len(blob))


def forged(change: Callable[[list[Fields]], object]) -> TableOfContents:
    """The sample with a changed table, whose digest is right."""
    _, _, blob = sample("ustar")
    start = table_start(blob[-FOOTER:], len(blob))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob[start:-FOOTER]))) as tar:
        file = tar.extractfile("stargz.index.json")
        assert file is not None
        fields = json.load(file)
    change(fields["entries"])
    table, out = json.dumps(fields).encode(), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("stargz.index.json")
        info.size = len(table)
        tar.addfile(info, io.BytesIO(table))
    return opened(blob[:start] + gzip.compress(out.getvalue()) + blob[-FOOTER:], Digest.of(table))


def row(rows: list[Fields], name: str) -> Fields:
    return next(entry for entry in rows if entry["name"] == name)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: row(rows, "etc/conf").update(offset=1 << 30),
        lambda rows: row(rows, "etc/conf").update(offset=-1),
        lambda rows: row(rows, "etc/conf").update(innerOffset=5),
        lambda rows: row(rows, "etc/conf").update(size=1 << 60),
        lambda rows: row(rows, "etc/conf").update(chunkSize=5),
        lambda rows: row(rows, "etc/conf").update(digest="md5:0"),
        lambda rows: row(rows, "etc/").update(mode=0o100),
        lambda rows: row(rows, "etc/").update(mode="x"),
        lambda rows: row(rows, "etc/").update(type="nothing"),
        lambda rows: row(rows, "etc/").update(modtime="yesterday"),
        lambda rows: row(rows, "etc/").update(xattrs=[1]),
        lambda rows: row(rows, "etc/").update(xattrs={"a": "?"}),
        lambda rows: row(rows, "etc/").pop("name"),
    ],
)
def test_a_table_that_contradicts_the_layer_is_refused(change: Callable[[list[Fields]], object]) -> None:
    with pytest.raises(InvalidDocument):
        forged(change)


def test_a_table_of_another_digest_is_refused() -> None:
    _, _, blob = sample("ustar")
    with pytest.raises(InvalidDocument, match="does not match the digest"):
        opened(blob, Digest.of(b"other"))


@settings(max_examples=60)
@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_a_changed_byte_is_never_more_than_refused(at: int, change: int) -> None:
    digest, _, blob = sample("pax")
    at %= len(blob)
    damaged = blob[:at] + bytes([blob[at] ^ change]) + blob[at + 1 :]
    with suppress(InvalidDocument, InvalidArchive):
        opened(damaged, digest)


@pytest.mark.parametrize("fields", [{"uid": 1 << 40}, {"mode": -1}, {"size": True}, {"type": None}])
def test_what_a_header_cannot_say_is_an_error(fields: Fields) -> None:
    with pytest.raises((ValueError, KeyError)):
        header({"name": "x", "type": "reg", **fields}, "ustar", (b"", b""))
