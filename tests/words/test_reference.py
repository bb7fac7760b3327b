from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.words.digest import Digest
from nacre.words.errors import InvalidName
from nacre.words.reference import Reference, is_loopback

HEX = "sha256:" + "0123456789abcdef" * 4


# What docker 28 makes of each (`docker tag`, and distribution/reference's own examples).
@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("app", "docker.io/library/app:latest", "app:latest"),
        ("app:1", "docker.io/library/app:1", "app:1"),
        ("me/app", "docker.io/me/app:latest", "me/app:latest"),
        ("docker.io/app", "docker.io/library/app:latest", "app:latest"),
        ("docker.io/library/app", "docker.io/library/app:latest", "app:latest"),
        ("index.docker.io/me/app", "docker.io/me/app:latest", "me/app:latest"),
        ("library/app", "docker.io/library/app:latest", "app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest", "127.0.0.1:5000/a/b/c:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
        ("[2001:db8::1]/app", "[2001:db8::1]/app:latest", "[2001:db8::1]/app:latest"),
        ("quay.io/app", "quay.io/app:latest", "quay.io/app:latest"),
        ("HOST/app", "HOST/app:latest", "HOST/app:latest"),
        (
            "my.registry/app-x_y__z.w--v",
            "my.registry/app-x_y__z.w--v:latest",
            "my.registry/app-x_y__z.w--v:latest",
        ),
        (f"app@{HEX}", f"docker.io/library/app@{HEX}", f"app@{HEX}"),
        (f"app:1@{HEX}", f"docker.io/library/app:1@{HEX}", f"app:1@{HEX}"),
        ("app:V1._-", "docker.io/library/app:V1._-", "app:V1._-"),
        ("app:" + "x" * 128, "docker.io/library/app:" + "x" * 128, "app:" + "x" * 128),
        ("host:python3", "docker.io/library/host:python3", "host:python3"),
    ],
)
def test_names(text: str, canonical: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == canonical
    assert reference.familiar == familiar
    assert Reference.parse(canonical) == reference
    assert Reference.parse(familiar) == reference


@pytest.mark.parametrize(
    "text",
    ["", ":", ":1", "@", "/", "app/", "/app", "a//b", "App", "me/App", "app:", "app:-x", "app:.x", "app:a b",
     "app:" + "x" * 129, "app@", "app@sha256:1", f"app@{HEX.upper()}", "-app", "app-", "a___b", "a._b",
     "a..b", "a.-b", "äpp", "app:ä", "a b", "app\n", "0123456789abcdef" * 4, "x" * 256, "localhost:port/app",
     "localhost:123456/app", "-host.x/app", "host-.x/app", "h..x/app", "[::1/app", "[::g]:1/app",
     "user@host/app", "https://host/app", "host.x/", "host.x", "a/" * 128 + "b", "../../etc", "app:../x",
     "host.x/../y"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    if text == "host.x":
        assert Reference.parse(text).repository == "library/host.x"
        return
    with pytest.raises(InvalidName) as caught:
        Reference.parse(text)
    assert caught.value.message


def test_parts() -> None:
    reference = Reference.parse(f"localhost:5000/a/b:1@{HEX}")
    assert (reference.registry, reference.repository, reference.tag) == ("localhost:5000", "a/b", "1")
    assert reference.digest == Digest(HEX)
    assert reference.target == HEX
    assert reference.name == "localhost:5000/a/b"
    assert Reference.parse("a:1").target == "1"
    assert Reference.parse(f"a@{HEX}").tag == ""


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidName:
        return
    assert Reference.parse(str(reference)) == reference
    assert ".." not in reference.repository


ALNUM = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=5)
COMPONENT = st.lists(ALNUM, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([".", "_", "__", "-", "---"]).map(lambda separator: separator.join(parts))
)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(st.lists(COMPONENT, min_size=1, max_size=4), TAG, st.sampled_from(["localhost", "a.b:1", "docker.io"]))
def test_what_the_grammar_makes_is_read(path: list[str], tag: str, registry: str) -> None:
    reference = Reference.parse(f"{registry}/{'/'.join(path)}:{tag}")
    assert reference.tag == tag
    assert reference.repository.removeprefix("library/") == "/".join(path).removeprefix("library/")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1", "127.8.0.1:80", "::1", "[::1]:5000"]
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1.evil.example", "localhost.evil.example:5000", "128.0.0.1", "127.0.0.999", "127.1", ""]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
