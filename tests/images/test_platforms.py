"""Which entry of an index is taken, by containerd's order."""

from __future__ import annotations

import pytest

from nacre.images.model.platforms import rank, select
from nacre.words.digest import Digest
from nacre.words.errors import InvalidName, NotFound
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, Index, Platform


def index(*platforms: Platform | None) -> Index:
    entries = [
        Descriptor(OCI_MANIFEST, Digest.of(str(at).encode()), 1, platform)
        for at, platform in enumerate(platforms)
    ]
    return Index(OCI_INDEX, tuple(entries))


def chosen(there: list[str], wanted: str) -> int:
    found = index(*(Platform.parse(f"linux/{text}") for text in there))
    return found.manifests.index(select(found, Platform.parse(f"linux/{wanted}"), "x"))


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        (["amd64", "amd64/v2", "amd64/v3"], "amd64/v3", 2),
        (["amd64", "amd64/v2", "amd64/v4"], "amd64/v3", 1),
        (["amd64/v2", "amd64/v1"], "amd64", 1),
        (["386", "arm"], "amd64/v2", 0),
        (["arm/v7", "arm64"], "arm64", 1),
        (["arm/v5", "arm/v7"], "arm64", 1),
        (["arm64", "arm64/v9"], "arm64/v9", 1),
        (["arm64/v8.1", "arm64/v8", "arm64/v9.3"], "arm64/v9.2", 0),
        (["arm64/v9", "arm64/v8.7"], "arm64/v9.2", 0),
        (["arm64/v8.8", "arm64/v8"], "arm64/v9.2", 1),
        (["arm/v6", "arm/v5"], "arm/v7", 0),
        (["arm/v7", "arm/v6"], "arm", 0),
        (["arm/v8", "arm/v5"], "arm/v6", 1),
        (["riscv64", "s390x"], "s390x", 1),
    ],
)
def test_variants(there: list[str], wanted: str, expected: int) -> None:
    assert chosen(there, wanted) == expected


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (["amd64/v3"], "amd64"), (["arm64/v9"], "arm64"), (["amd64"], "386"), (["arm64"], "arm/v7"),
        (["arm/v7"], "arm/v6"), (["ppc64le"], "ppc64"), (["mips64/x"], "mips64"),
    ],
)  # fmt: skip
def test_what_does_not_run(there: list[str], wanted: str) -> None:
    with pytest.raises(NotFound):
        chosen(there, wanted)


def test_versions_of_windows() -> None:
    found = index(
        Platform("windows", "amd64", os_version="10.0.20348.1"),
        Platform("windows", "amd64", os_version="10.0.17763.9"),
    )
    assert select(found, Platform.parse("windows/amd64"), "x") == found.manifests[0]
    assert select(found, Platform.parse("windows(10.0.17763)/amd64"), "x") == found.manifests[1]
    assert select(found, Platform.parse("windows(10.0.17763.9)/amd64"), "x") == found.manifests[1]
    with pytest.raises(NotFound) as caught:
        select(found, Platform.parse("windows(10.0.1776)/amd64"), "x")
    assert "windows(10.0.17763.9)/amd64, windows(10.0.20348.1)/amd64" in caught.value.hint


@pytest.mark.parametrize("text", ["windows(10/amd64", "windows()/amd64", "windows(a b)/amd64", "(1)/amd64"])
def test_malformed_versions(text: str) -> None:
    with pytest.raises(InvalidName):
        Platform.parse(text)


def test_features_of_the_system() -> None:
    plain = Platform("windows", "amd64")
    special = Platform.from_json(plain.to_json() | {"os.features": ["win32k"]})
    assert Platform.from_json(special.to_json()) == special
    found = index(special, plain)
    assert select(found, plain, "x") == found.manifests[1]
    assert select(found, special, "x") == found.manifests[0]
    assert select(index(special), plain, "x").platform == special


def test_a_single_entry_without_a_platform() -> None:
    assert select(index(None), None, "x").platform is None
    with pytest.raises(NotFound, match="no image for"):
        select(index(None, None), None, "x")


def test_a_long_list_is_cut() -> None:
    found = index(*(Platform("linux", f"cpu{number:02}") for number in range(50)))
    with pytest.raises(NotFound) as caught:
        select(found, Platform("linux", "amd64"), "x")
    assert "linux/cpu00" in caught.value.hint
    assert "and 30 more" in caught.value.hint


def test_rank_is_an_order() -> None:
    wanted = Platform.parse("linux/arm/v7")
    ranks = [rank(Platform.parse(f"linux/arm/v{n}"), wanted) for n in (7, 6, 5)]
    assert ranks == sorted(ranks, key=lambda place: place or (9, 9))
    assert rank(Platform.parse("windows/arm/v7"), wanted) is None
