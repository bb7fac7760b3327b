import json

from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.wire.errors import Code, Problem, decode, encode, refusal


def test_a_body_comes_back() -> None:
    assert decode(encode("NAME_UNKNOWN", "no such thing")) == (Problem("NAME_UNKNOWN", "no such thing"),)
    assert json.loads(encode("DENIED", "no", {"a": 1})) == {
        "errors": [{"code": "DENIED", "message": "no", "detail": {"a": 1}}]
    }


def test_detail_is_shown_whatever_its_type() -> None:
    assert decode(encode("X", "m", "why"))[0].detail == "why"
    assert decode(encode("X", "m", [{"Type": "repository"}]))[0].detail == '[{"Type": "repository"}]'
    assert str(Problem("X", "m", "why")) == "X: m (why)"
    assert str(Problem("", "m")) == "m"


def test_what_ends_on_a_terminal_is_printable() -> None:
    assert decode(encode("X\x1b[2J", "a\nb\u202e"))[0] == Problem("X [2J", "a b")


@given(st.binary())
def test_any_body_is_read_without_a_crash(body: bytes) -> None:
    decode(body)


keys = st.sampled_from(["errors", "code", "message", "detail"])
leaves = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner)))
def test_any_json_is_read_without_a_crash(value: object) -> None:
    decode(json.dumps(value).encode())
    decode(json.dumps({"errors": value}).encode())


def test_a_bomb_of_brackets_is_no_crash() -> None:
    assert decode(b"[" * 100_000) == ()


def test_refusals_carry_status_and_code() -> None:
    error = refusal(Code.RANGE_INVALID)
    assert (error.status, error.code, error.message) == (416, "RANGE_INVALID", "invalid content range")
    assert refusal(Code.BLOB_UPLOAD_INVALID, "x", status=409).status == 409


SPECIFIED = {
    "UNAUTHORIZED": "authentication required", "DENIED": "requested access to the resource is denied",
    "TOOMANYREQUESTS": "too many requests", "NAME_UNKNOWN": "repository name not known to registry",
    "BLOB_UNKNOWN": "blob unknown to registry", "BLOB_UPLOAD_UNKNOWN": "blob upload unknown to registry",
    "MANIFEST_UNKNOWN": "manifest unknown", "UNSUPPORTED": "The operation is unsupported.",
}  # fmt: skip
"""By which docker knows an error that says no more than its code (distribution, registry/api/errcode)."""


def test_docker_shows_every_message() -> None:
    assert {name: text for name, text in SPECIFIED.items() if refusal(Code[name]).message == text} == {}


def test_every_code_is_its_own() -> None:
    assert len({code.name for code in Code}) == len(Code.__members__) == 24
