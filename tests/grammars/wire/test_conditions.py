from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.wire.conditions import Conditions, etag
from nacre.words.errors import RegistryError

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
TAG = etag(DIGEST)


@pytest.mark.parametrize(
    "field",
    ["*", TAG, f"W/{TAG}", DIGEST, f' "x", {TAG}', f'"x",W/{TAG}', f'{TAG}, "x"', f'"a,b" , {TAG}',
     f"\t{TAG}\t", f"{OTHER}, {DIGEST}", '"x", *', f", ,{TAG}", f'W/"x", {DIGEST} ,"y"'],
)  # fmt: skip
def test_what_names_the_content(field: str) -> None:
    assert Conditions(none_match=field).has_already(DIGEST)


@pytest.mark.parametrize(
    "field",
    [
        "",
        " ",
        ",",
        etag(OTHER),
        OTHER,
        f'"x{DIGEST}"',
        f'"*"x, "{OTHER}"',
        f'"x, {DIGEST}"',
        f"{DIGEST}x",
        '"',
        "W/",
    ],
)
def test_what_does_not(field: str) -> None:
    assert not Conditions(none_match=field).has_already(DIGEST)


@given(st.text(alphabet='*W/", asx'))
def test_any_field_is_read(field: str) -> None:
    Conditions(none_match=field).has_already(DIGEST)


@pytest.mark.parametrize("field", ["", "*", TAG, f'"x", {TAG}', DIGEST, f"W/{TAG}, {TAG}"])
def test_what_is_expected_to_be_there(field: str) -> None:
    Conditions(match=field).check_change(DIGEST)


@pytest.mark.parametrize(
    ("conditions", "there"),
    [
        (Conditions(match=etag(OTHER)), DIGEST),
        (Conditions(match=f"W/{TAG}"), DIGEST),
        (Conditions(match='"*"'), DIGEST),
        (Conditions(match="*"), ""),
        (Conditions(match=TAG), ""),
        (Conditions(none_match="*"), DIGEST),
        (Conditions(none_match=f'"x", W/{TAG}'), DIGEST),
        (Conditions(match=TAG, none_match=TAG), DIGEST),
    ],
)
def test_changes_that_are_refused(conditions: Conditions, there: str) -> None:
    with pytest.raises(RegistryError) as caught:
        conditions.check_change(there)
    assert (caught.value.status, caught.value.code) == (412, "PRECONDITION_FAILED")


def test_changes_that_are_free() -> None:
    Conditions(none_match="*").check_change("")
    Conditions(none_match=etag(OTHER)).check_change(DIGEST)
    Conditions().check_change(DIGEST)
