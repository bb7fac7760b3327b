"""References by the product of their parts, each bad part among good ones. Source: distribution/reference."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from nacre.words.errors import InvalidName
from nacre.words.reference import Reference

HEX = "0123456789abcdef" * 4
REGISTRIES = {
    "": "docker.io", "docker.io": "docker.io", "index.docker.io": "docker.io", "localhost": "localhost",
    **{name: name for name in (
        "localhost:5000", "host.test", "host.test:1", "h-1.a-b.test", "127.0.0.1:65535", "[::1]",
        "[2001:db8::1]:80",
        "HOST", "Host:80", "a.b.c.d.e",
    )},
}  # fmt: skip
PATHS = (
    "a",
    "0",
    "a.b",
    "a_b",
    "a__b",
    "a-b",
    "a---b",
    "a/b",
    "library/a",
    "x/y/z/0",
    "a1/b2.c3-d4__e5",
    "a" * 200,
)
TAGS = ("", "1", "latest", "_x", "V1._-", "A.b-C_d", "x" * 128)
DIGESTS = ("", "sha256:" + HEX, "sha512:" + HEX * 2)
BAD = {
    "registry": ("-host.test", "host-.test", "host..test", ".host.test", "host.test:", "host.test:x", "[::1",
    "[::g]:1",
                 "host_x.test", "host.test:1:2", "user@host.test", "https://host.test", "hö.test", "[]:1"),
    "path": ("", "A", "a/B", "a//b", "/a", "a/", "a..b", "a.", ".a", "_a", "a_", "a___b", "-a", "a-", "a.-b",
    "a b",
             "ä", "a\n", "a/../b", "../a", "a" * 260, "a%2fb", "a\\b", "a\0"),
    "tag": ("-a", ".a", "a b", "ä", "a/b", "x" * 129, "a:b", "a\n", "a+b", "a\0"),
    "digest": ("sha256", "sha256:", "sha256:" + HEX[1:], "sha256:" + HEX.upper(), "SHA256:" + HEX, ":" + HEX,
               "sha256:" + HEX + "0", "md5:" + HEX[:32], "sha256:" + "g" * 64, "sha512:" + HEX),
}  # fmt: skip


def written(registry: str, path: str, tag: str, digest: str) -> str:
    return f"{registry}/" * bool(registry) + path + f":{tag}" * bool(tag) + f"@{digest}" * bool(digest)


def canonical(registry: str, path: str, tag: str, digest: str) -> str:
    """Docker's hub has a folder for what has none, and no tag means `latest` where no digest stands."""
    at = REGISTRIES[registry]
    within = f"library/{path}" if at == "docker.io" and "/" not in path else path
    return written(at, within, tag or ("" if digest else "latest"), digest)


@pytest.mark.parametrize("registry", REGISTRIES)
def test_good_parts_make_a_reference(registry: str) -> None:
    for path, tag, digest in product(PATHS, TAGS, DIGESTS):
        reference = Reference.parse(written(registry, path, tag, digest))
        expected = canonical(registry, path, tag, digest)
        assert str(reference) == expected
        assert Reference.parse(expected) == Reference.parse(reference.familiar) == reference
        assert (reference.registry, reference.digest or "") == (REGISTRIES[registry], digest)
        assert reference.target == (digest or tag or "latest")


def spoiled(kind: str) -> Iterator[str]:
    """Each bad part among all good others."""
    few = ["", "localhost:5000", "host.test", "[::1]"]
    parts = {"registry": few, "path": PATHS[5:9], "tag": TAGS[:4], "digest": DIGESTS} | {kind: BAD[kind]}
    for registry, path, tag, digest in product(*parts.values()):
        yield written(registry, path, tag, digest)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_part_makes_none(kind: str) -> None:
    wrong = []
    for text in spoiled(kind):
        try:
            wrong.append((text, str(Reference.parse(text))))
        except InvalidName as error:
            assert "\n" not in error.message  # noqa: PT017
    assert wrong == []
