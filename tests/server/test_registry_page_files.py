"""Images on the page of a registry: their layers as a picture, their files, and what differs between two."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
from pagekit import Site, digest_of, tar_of

from nacre.services.server.page.files import hex_of
from nacre.services.server.page.history import bars, instruction
from nacre.stores.listings import Listings, ReadingLimits
from nacre.words.digest import Digest
from nacre.words.errors import InvalidArchive
from nacre.words.oci import OCI_LAYER, Descriptor

EVIL = "<script>alert(1)</script>"
BASE = tar_of(
    {"etc/": None, "etc/motd": b"hello\n", "etc/old": b"gone", "usr/bin/tool": b"\x7fELF" + bytes(40)}
)
TOP = tar_of(
    {"etc/.wh.old": b"", "etc/motd": b"hello again\n", "link": "../../../etc/motd", f"{EVIL}": b"<b>&"}
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(str(tmp_path / "registry")) as found:
        yield found
    assert found.log == []


def settled(site: Site, target: str) -> str:
    """What a page says once the layers are read."""
    deadline = time.monotonic() + 60
    while (answer := site.get(target)).status == 202:
        assert 'http-equiv="refresh"' in answer.text
        assert time.monotonic() < deadline
    assert answer.status == 200, answer.words
    assert "<script>alert" not in answer.text
    return str(answer.text)


def test_a_picture_of_the_layers(site: Site) -> None:
    history = [
        {"created_by": "/bin/sh -c #(nop) ADD file:1 in / "},
        {"created_by": 'CMD ["sh"]', "empty_layer": True},
        {"created_by": f"RUN /bin/sh -c echo {EVIL} && make # buildkit"},
    ]
    site.image("shop/app", "1", [BASE, TOP], {"history": history, "config": {"Env": ["A=1", f"B={EVIL}"]}})
    site.image("shop/app", "2", [BASE])
    site.image("other", "1", [BASE])
    text = settled(site, "/r/shop/app/-/image/1")
    assert re.findall(r'<rect class="(\w+) gap" x="([\d.]+)" y="0" width="([\d.]+)"', text) == [
        ("shared", "0.0", "500.0"), ("own", "500.0", "500.0"),
    ]  # fmt: skip
    assert "Also in <a" in text
    assert 'href="/r/other"' in text
    assert "&amp;&amp; make" in text
    words = site.get("/r/shop/app/-/image/1").words
    assert "3 instructions" in words
    assert "20.5 kB to pull" in words


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("/bin/sh -c #(nop)  ENV A=1", ("ENV", "A=1")),
        ("/bin/sh -c apt-get update", ("RUN", "apt-get update")),
        ("|2 A=1 B=2 /bin/sh -c make", ("RUN", "make")),
        ("RUN /bin/sh -c make # buildkit", ("RUN", "make")),
        ("RUN make # nacre", ("RUN", "make")),
        ("COPY dir:1 in /app ", ("COPY", "dir:1 in /app")),
        ("bazel build ...", ("", "bazel build ...")),
        ("", ("", "")),
    ],
)
def test_instructions(written: str, said: tuple[str, str]) -> None:
    assert instruction(written) == said


def test_a_picture_of_nothing_and_of_too_much() -> None:
    nothing = Descriptor(OCI_LAYER, Digest.of(b""), 0)
    assert [(bar.start, bar.width) for bar in bars([nothing], [])] == [(0.0, 0.0)]
    assert len(bars([nothing] * 10_000, [])) == 500


def test_files_as_a_container_sees_them(site: Site) -> None:
    site.image("shop/app", "1", [BASE, gzip.compress(TOP)])
    place = "/r/shop/app/-/files/1"
    root = settled(site, place)
    assert re.findall(r'href="/r/shop/app/-/files/1/([^"/]+)"', root)[1:] == ["etc", "link", "usr"]
    etc = settled(site, f"{place}/etc")
    assert "motd" in etc
    assert "etc/old" not in etc
    assert "hello again" in settled(site, f"{place}/etc/motd")
    through = settled(site, f"{place}/link")
    assert "hello again" in through
    assert "this is" in through
    assert "|.ELF" in settled(site, f"{place}/usr/bin/tool")
    assert "&lt;b&gt;&amp;" in settled(site, f"{place}/%3Cscript%3Ealert(1)%3C/script%3E")
    for absent in ("etc/old", "etc/.wh.old", "etc/motd/x", "../../etc/passwd%00", "nothing"):
        assert site.get(f"{place}/{absent}").status == 404
    assert settled(site, f"{place}/../../../../etc/../etc/motd").count("hello again") == 1


def test_a_long_folder_has_pages(site: Site) -> None:
    site.image("many", "1", [tar_of({f"d/f{number:04}\xff": b"" for number in range(1500)})])
    first = settled(site, "/r/many/-/files/1/d")
    assert first.count("<tr>") == 1001
    more = re.findall(r'href="([^"]*last=[^"]*)"', first)[0].replace("&amp;", "&")
    assert settled(site, more).count("<tr>") == 501


def test_a_large_file_is_shown_in_part(site: Site) -> None:
    site.image("big", "1", [tar_of({"pad": bytes(3 << 20), "text": b"line\n" * 100_000, "empty": b""})])
    text = settled(site, "/r/big/-/files/1/text")
    assert "And 238\u202fkB more" in text
    assert len(text) < 300_000
    assert "empty" in settled(site, "/r/big/-/files/1/empty")
    assert "And 3.14\u202fMB more" in settled(site, "/r/big/-/files/1/pad")


def test_what_differs(site: Site) -> None:
    site.image("shop/app", "1", [BASE])
    site.image("shop/app", "2", [BASE, TOP])
    same = tar_of(
        {"etc/": None, "etc/motd": b"hello\n", "etc/old": b"gone", "usr/bin/tool": b"\x7fELF" + bytes(40)}
    )
    site.image("shop/app", "3", [same, tar_of({"extra/": None, "extra/a": b"1"})])
    text = settled(site, "/r/shop/app/-/compare?from=1&to=2")
    kinds = re.findall(r'<td class="(\w+)">\w+</td>\s*<td><a class="name" href="[^"]*">/([^<]*)', text)
    assert [kind for kind in kinds if "script" not in kind[1]] == [
        ("changed", "etc/motd"), ("removed", "etc/old"), ("added", "link"),
    ]  # fmt: skip
    words = site.get("/r/shop/app/-/compare?from=3&to=1").words
    assert "removed /extra" in words
    assert "motd" not in words
    assert "the same files" in settled(site, "/r/shop/app/-/compare?from=1&to=1")
    assert site.get("/r/shop/app/-/compare?from=1").status == 400


def test_an_index_has_a_page_for_each_platform(site: Site) -> None:
    amd = site.image("app", "", [BASE])
    arm = site.image("app", "", [BASE, TOP], {"architecture": "arm64"})
    site.index("app", "1", {"linux/arm64": arm, "linux/amd64": amd})
    assert "linux/arm64" in settled(site, "/r/app/-/image/1")
    assert "link" not in re.findall(r"files/1/(\w+)\?", settled(site, "/r/app/-/files/1"))
    assert "link" in re.findall(r"files/1/(\w+)\?", settled(site, "/r/app/-/files/1?platform=linux/arm64"))
    assert site.get("/r/app/-/image/1?platform=plan9/mips").status == 404
    assert "linux/amd64 linux/arm64" in site.get("/r/app/-/tags").words.replace(
        "linux/arm64 linux/amd64", "linux/amd64 linux/arm64"
    )


def test_layers_that_are_none(site: Site) -> None:
    site.image("bad", "1", [b"this is no tar at all, but long enough to be tried" * 20])
    site.image("bad", "2", [gzip.compress(BASE)[:-20]])
    for tag in "12":
        deadline = time.monotonic() + 30
        while (answer := site.get(f"/r/bad/-/files/{tag}")).status == 202:
            assert time.monotonic() < deadline
        assert answer.status == 422
        assert "This cannot be read" in answer.words
    assert site.get("/r/bad/-/image/1").status == 200


@pytest.fixture
def listings(tmp_path: Path) -> Listings:
    return Listings(str(tmp_path / "listings"), ReadingLimits(bytes=1 << 20, entries=100, seconds=30))


def make(listings: Listings, data: bytes) -> Digest:
    digest = Digest(digest_of(data))
    listings.make(digest, io.BytesIO(data))
    return digest


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (gzip.compress(tar_of({"zeros": bytes(4 << 20)})), "more than 1048576 bytes"),
        (gzip.compress(tar_of({"a": b""}) + bytes(8 << 20)), "more than 1048576 bytes"),
        (tar_of({f"f{number}": b"" for number in range(101)}), "more than the 100 entries"),
        (tar_of({"../../etc/passwd": b"x"}), "passwd"),
        (b"PK\x03\x04" + bytes(600), "zip compression"),
    ],
)
def test_what_is_too_much_is_given_up_and_leaves_nothing(
    listings: Listings, layer: bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArchive, match=said):
        make(listings, layer)
    assert list((tmp_path / "listings").iterdir()) == []


def test_reading_ends_in_time_and_when_nobody_waits(tmp_path: Path) -> None:
    slow = Listings(str(tmp_path / "a"), ReadingLimits(seconds=0))
    with pytest.raises(InvalidArchive, match="more than 0 seconds"):
        make(slow, BASE)
    with pytest.raises(InvalidArchive):
        Listings(str(tmp_path / "b")).make(Digest(digest_of(BASE)), io.BytesIO(BASE), lambda: True)


def test_links_stay_in_their_layer(listings: Listings) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, kind, target in (("out", tarfile.SYMTYPE, "/../../.."), ("loop", tarfile.SYMTYPE, "loop")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
        member = tarfile.TarInfo("out/etc/x")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    found = listings.find(make(listings, raw.getvalue()))
    assert found is not None
    with closing(found):
        node = found.node(b"etc/x")
        assert node is not None
        assert node.size == 1


def test_sums_tell_contents_apart(listings: Listings) -> None:
    found = listings.find(make(listings, tar_of({"a": b"one", "b": b"two", "c": b"one", "empty": b""})))
    assert found is not None
    with closing(found):
        assert found.sum(b"a") == found.sum(b"c") != found.sum(b"b")
        assert found.sum(b"empty") == found.sum(b"nothing") == b""


def test_the_least_used_goes_when_there_is_too_much(tmp_path: Path) -> None:
    few = Listings(str(tmp_path / "listings"), ReadingLimits(kept=1))
    digests = [make(few, tar_of({f"f{number}": b"x"})) for number in range(4)]
    there = [digest for digest in digests if (found := few.find(digest)) and not found.close()]
    assert there == digests[-1:]


def test_hexadecimal_digits() -> None:
    assert hex_of(b"\x00<A>") == "00000000  00 3c 41 3e" + " " * 39 + "|.<A>|"
