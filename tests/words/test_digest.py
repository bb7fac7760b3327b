from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.words.digest import Digest, Verifier, sha256
from nacre.words.errors import DigestMismatch, InvalidName, TooLarge, Unsupported

EMPTY = "sha256:" + hashlib.sha256().hexdigest()


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 16) + 1])
def test_a_hash_is_the_same_whoever_computes_it(size: int) -> None:
    data = bytes(size)
    assert sha256(data).hexdigest() == hashlib.sha256(data).hexdigest()
    more = sha256(data)
    more.update(b"more")
    assert more.digest() == hashlib.sha256(data + b"more").digest()


def test_parts() -> None:
    digest = Digest(EMPTY)
    assert digest == EMPTY
    assert (digest.algorithm, digest.hex, digest.short) == ("sha256", EMPTY[7:], EMPTY[7:19])
    assert Digest("sha512:" + "a" * 128).algorithm == "sha512"


@pytest.mark.parametrize(
    "text",
    ["", "sha256", "sha256:", EMPTY[7:], EMPTY[:-1], EMPTY + "0", EMPTY.upper(), "SHA" + EMPTY[3:],
     "md5:" + "a" * 32, "sha256:" + "g" * 64, "sha256:" + "../" * 21 + "x", EMPTY + "\n",
     "sha256:" + "٣" * 64, "sha512:" + "a" * 64],
)  # fmt: skip
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidName):
        Digest(text)


@given(st.text(max_size=100))
def test_any_text_is_a_safe_path_or_refused(text: str) -> None:
    try:
        digest = Digest(text)
    except InvalidName:
        return
    assert digest.hex.isalnum()


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_of(data: bytes, algorithm: str) -> None:
    assert Digest.of(data, algorithm) == f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@given(st.lists(st.binary()))
def test_verifier_takes_the_right_bytes(chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    verifier = Verifier(Digest.of(data), len(data))
    for chunk in chunks:
        verifier.update(memoryview(chunk))
    assert verifier.verify() == Digest.of(data)


def test_verifier_only_computes() -> None:
    verifier = Verifier()
    verifier.update(b"x")
    assert verifier.verify() == Digest.of(b"x")


def test_verifier_refuses_other_bytes() -> None:
    verifier = Verifier(Digest.of(b"right"), what="layer")
    verifier.update(b"wrong")
    with pytest.raises(DigestMismatch) as caught:
        verifier.verify()
    assert caught.value.expected == Digest.of(b"right")
    assert caught.value.actual == Digest.of(b"wrong")
    assert caught.value.message.startswith("layer has digest sha256:")


def test_verifier_stops_at_once_when_too_long() -> None:
    verifier = Verifier(Digest.of(b"right"), 5, "layer")
    verifier.update(b"rig")
    with pytest.raises(TooLarge, match="longer than the 5 bytes"):
        verifier.update(b"hts")


def test_verifier_refuses_too_short() -> None:
    verifier = Verifier(Digest.of(b"right"), 5)
    verifier.update(b"rig")
    with pytest.raises(DigestMismatch, match="3 of 5 bytes"):
        verifier.verify()


@pytest.mark.parametrize(
    "text", ["sha256+b64u:LCa0a2j_xo_5m0U8", "multihash+base58:QmRZxt2b", "a.b_c-d+e9:=_-", "md5:" + "a" * 32]
)
def test_a_well_formed_digest_of_an_unregistered_algorithm_is_a_name_only(text: str) -> None:
    digest = Digest.named(text)
    assert digest == text
    assert not digest.is_known
    assert isinstance(digest, Digest)
    with pytest.raises(Unsupported, match="not registered"):
        Verifier(digest)
    with pytest.raises(Unsupported, match="not registered"):
        Digest.of(b"", digest.algorithm)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:", ":b", "A:b", "a++b:c", "+a:b", "a+:b", "a:b/c", "a:b c", "a/b:c", "..:..", "a:..",
     "a:" + "b" * 256, "a" * 256 + ":b", "sha256:" + "a" * 63, "sha512:" + "a" * 64, EMPTY.upper()],
)  # fmt: skip
def test_what_no_document_may_name(text: str) -> None:
    with pytest.raises(InvalidName):
        Digest.named(text)


def test_a_registered_digest_is_itself() -> None:
    assert type(Digest.named(EMPTY)) is Digest
    assert Digest.named(EMPTY).is_known
