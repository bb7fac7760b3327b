"""Every field of every document of the image specification, absent, null and of every wrong kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from documentmaker import FIELDS, NOT_JSON, WHOLE, Case, spoiled

from nacre.images.places.layout import read_index
from nacre.words.errors import InvalidDocument
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, ImageConfig, decode_json, parse_document

READERS: dict[str, Callable[[bytes], Any]] = {
    "descriptor": lambda data: Descriptor.from_json(decode_json(data, "descriptor")),
    "manifest": lambda data: parse_document(data, OCI_MANIFEST),
    "index": lambda data: parse_document(data, OCI_INDEX),
    "config": ImageConfig.parse,
}


def refused(read: Callable[[bytes], Any], data: bytes) -> str:
    """The sentence, "" if it is read. Any other error fails the test."""
    try:
        read(data)
    except InvalidDocument as error:
        return error.message
    return ""


@pytest.mark.parametrize("kind", FIELDS)
def test_a_document_is_read_or_refused_by_each_of_its_fields(kind: str) -> None:
    cases = list(spoiled(kind))
    found = [(case.what, refused(READERS[kind], case.data)) for case in cases]
    wrong = [each for each, case in zip(found, cases, strict=True) if (not each[1]) != case.valid]
    assert wrong == []
    assert all("\n" not in sentence and len(sentence) < 1000 for _, sentence in found)


@pytest.mark.parametrize("kind", FIELDS)
def test_what_is_read_comes_out_again(kind: str) -> None:
    """Read, written and read: the same. What the documents hold beside is not lost in a config."""
    for case in spoiled(kind):
        if not case.valid:
            continue
        value = READERS[kind](case.data)
        data = value.encode() if kind != "descriptor" else json.dumps(value.to_json()).encode()
        assert READERS[kind](data) == value, case.what
        assert kind != "config" or set(json.loads(data)) == set(case.document), case.what


def test_an_index_of_a_layout_need_not_say_what_it_is() -> None:
    for case in spoiled("index"):
        known = case.what in ("no schemaVersion", "no manifests")
        assert (not refused(read_index, case.data)) == (case.valid or known), case.what


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("data", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_no_json_is_refused(kind: str, data: bytes) -> None:
    assert "is not valid JSON" in refused(READERS[kind], data)


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("data", [b"null", b"[]", b'"x"', b"7", b"true", b"1.5", b"[{}]"])
def test_what_is_no_object_is_refused(kind: str, data: bytes) -> None:
    assert refused(READERS[kind], data)


@pytest.mark.parametrize(("kind", "other"), [("manifest", "index"), ("index", "manifest")])
def test_a_document_is_one_thing(kind: str, other: str) -> None:
    """What both could be is refused, and what is served as the other."""
    both = WHOLE[other] | WHOLE[kind]
    for case in (Case("both", both, False), Case("both", both | {"mediaType": None}, False)):
        assert "both a manifest and an index" in refused(READERS[kind], case.data)
    assert refused(READERS[other], Case("other", WHOLE[kind], False).data)
    plain = {key: value for key, value in WHOLE[kind].items() if key != "mediaType"}
    assert parse_document(json.dumps(plain).encode()) == READERS[kind](json.dumps(WHOLE[kind]).encode())
