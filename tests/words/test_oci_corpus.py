"""The documents that image-spec tests its schemas with: what those take, nacre takes.

Nacre is no validator: what a schema refuses and nacre can use all the same stands in `USABLE`, with why.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nacre.images.places.layout import read_index
from nacre.words.errors import NacreError
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, ImageConfig, decode_json, parse_document

Corpus = Callable[..., Path]

USABLE = {
    "config_test.go:232": "a variable without `=`, which a program never sees",
    "descriptor_test.go:54": "no media type", "descriptor_test.go:65": "a media type without `/`",
    "descriptor_test.go:77": "a media type that begins with a dot",
    "descriptor_test.go:89": "the same behind the `/`",
    "descriptor_test.go:113": "a media type of over 127 letters",
    "descriptor_test.go:125": "the same behind the `/`",
    "descriptor_test.go:234": "urls, which are never used", "descriptor_test.go:262": "an odd artifact type",
    "descriptor_test.go:375": "data, which is never used",
    "imageindex_test.go:30": "an odd media type: an entry of no known kind",
    "imageindex_test.go:95": "a platform without an architecture, which is that of no machine",
    "imageindex_test.go:116": "an odd media type", "imageindex_test.go:138": "no media type",
    "manifest_test.go:30": "an odd media type of the config", "manifest_test.go:170": "no layers",
}  # fmt: skip
READ: dict[str, Callable[[bytes], Any]] = {
    "config": ImageConfig.parse,
    "manifest": lambda data: parse_document(data, OCI_MANIFEST),
    "imageIndex": lambda data: (parse_document(data, OCI_INDEX), read_index(data)),
    "descriptor": lambda data: Descriptor.from_json(decode_json(data, "descriptor")),
    "imageLayout": lambda data: decode_json(data, "oci-layout"),
}


def _outcome(case: dict[str, Any]) -> str:
    try:
        READ[case["kind"]](case["doc"].encode())
    except NacreError as error:
        return error.message
    return ""


def test_every_document_of_image_spec(corpus: Corpus) -> None:
    cases = json.loads((corpus("image-spec") / "cases.json").read_bytes())
    assert len(cases) == 65
    outcomes = {case["src"]: _outcome(case) for case in cases}
    assert len(outcomes) == 65
    refused = {case["src"] for case in cases if case["fail"]} - USABLE.keys()
    assert {name for name, message in outcomes.items() if message} == refused


@pytest.mark.parametrize("name", USABLE)
def test_the_exceptions_are_none_without_need(corpus: Corpus, name: str) -> None:
    cases = {c["src"]: c["fail"] for c in json.loads((corpus("image-spec") / "cases.json").read_bytes())}
    assert cases[name]
