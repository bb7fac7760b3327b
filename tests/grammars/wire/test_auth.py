from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.wire import auth
from nacre.grammars.wire.auth import Challenge, Credentials
from nacre.words.errors import InvalidDocument, RegistryError


def bearer(**values: str) -> Challenge:
    return Challenge("bearer", tuple(sorted(values.items())))


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", []),
        ('Bearer realm="https://a/token",service="reg",scope="repository:x:pull,push"',
         [bearer(realm="https://a/token", service="reg", scope="repository:x:pull,push")]),
        ("Basic realm=simple", [Challenge("basic", (("realm", "simple"),))]),
        ('Basic realm="a \\"b\\"", Bearer realm="c"', [
            Challenge("basic", (("realm", 'a "b"'),)), bearer(realm="c")]),
        ("Negotiate, Basic realm=x", [Challenge("negotiate"), Challenge("basic", (("realm", "x"),))]),
        ("Negotiate dGVzdA==, Basic realm=x", [
            Challenge("negotiate", (("dgvzda", "="),)), Challenge("basic", (("realm", "x"),))]),
        ("BEARER  Realm = \"r\" , service = s", [bearer(realm="r", service="s")]),
        ("@@@, Basic realm=x", [Challenge("basic", (("realm", "x"),))]),
        ('Bearer realm="never ends', [bearer(realm="never ends")]),
    ],
)  # fmt: skip
def test_parse_challenges(field: str, expected: list[Challenge]) -> None:
    assert list(auth.parse_challenges(field)) == expected


@given(st.text(alphabet='ab ,="\\\t@B'))
def test_parse_challenges_takes_anything(field: str) -> None:
    auth.parse_challenges(field)


_NAMES = st.text("abcdefgh", min_size=1)
_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126))


@given(st.lists(st.tuples(_NAMES, st.dictionaries(_NAMES, _VALUES, min_size=1)), max_size=3))
def test_challenges_round_trip(pairs: list[tuple[str, dict[str, str]]]) -> None:
    challenges = tuple(Challenge(scheme, tuple(sorted(values.items()))) for scheme, values in pairs)
    assert auth.parse_challenges(", ".join(c.encode() for c in challenges)) == challenges


def test_bearer_is_preferred() -> None:
    both = auth.parse_challenges('Basic realm="x", Bearer realm="https://t"')
    assert auth.choose(both) == bearer(realm="https://t")
    assert auth.choose(both[:1]) == both[0]
    assert auth.choose(auth.parse_challenges("Digest realm=x")) is None


def test_credentials_do_not_show_themselves() -> None:
    secret = Credentials("me", "hunter2", "refresh", "ready")
    assert "hunter2" not in repr(secret) and "refresh" not in repr(secret) and "ready" not in repr(secret)  # noqa: PT018
    assert "abc" not in repr(auth.BearerToken("abc"))
    assert secret and not Credentials() and not Credentials(problem="no helper")  # noqa: PT018


def test_basic() -> None:
    assert Credentials("Aladdin", "open sesame").basic() == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert Credentials().basic() == ""


@pytest.mark.parametrize(
    ("fields", "token"),
    [
        ({"token": "t"}, auth.BearerToken("t", 60)),
        ({"access_token": "t", "expires_in": 300}, auth.BearerToken("t", 300)),
        ({"token": "t", "expires_in": 5}, auth.BearerToken("t", 60)),
        ({"token": "t", "expires_in": 10**30}, auth.BearerToken("t", 86400)),
        ({"token": "t", "expires_in": "soon"}, auth.BearerToken("t", 60)),
        ({"token": "t", "expires_in": True}, auth.BearerToken("t", 60)),
    ],
)
def test_parse_token(fields: object, token: auth.BearerToken) -> None:
    assert auth.parse_token(json.dumps(fields).encode()) == token


@pytest.mark.parametrize(
    "fields",
    [{}, [], {"token": ""}, {"token": 5}, {"token": "a\r\nX: y"}, {"token": "é"}, {"token": "a b"},
     {"token": "x" * 70_000}],
)  # fmt: skip
def test_parse_token_refuses(fields: object) -> None:
    with pytest.raises(RegistryError):
        auth.parse_token(json.dumps(fields).encode())


def test_parse_token_refuses_what_is_no_json() -> None:
    with pytest.raises(InvalidDocument):
        auth.parse_token(b"<html>")


def test_token_query() -> None:
    query = auth.token_query(
        bearer(service="reg"), ["repository:b:pull", "repository:a:pull,push"], Credentials("me")
    )
    assert query == "service=reg&scope=repository:a:pull,push&scope=repository:b:pull&account=me"
    assert auth.token_query(bearer(), [], Credentials()) == ""


def test_scope() -> None:
    assert auth.repository_scope("library/app", "pull", "push") == "repository:library/app:pull,push"
