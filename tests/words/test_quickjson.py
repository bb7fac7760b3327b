"""JSON without `json` gives what `json` gives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.words.quickjson import dumps, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_as_json(value: object) -> None:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert dumps(value) == text
    assert loads(text) == loads(json.dumps(value, indent=2)) == value


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \n\t\\u', max_size=30))
def test_faults_are_those_of_json(text: str) -> None:
    assert _outcome(loads, text) == _outcome(json.loads, text)


def _outcome(read: Callable[[str | bytes], object], text: str | bytes) -> object:
    try:
        return read(text)
    except ValueError as error:
        return type(error), str(error)


@pytest.mark.parametrize("data", [b'\xef\xbb\xbf{"a":1}', '{"a":1}'.encode("utf-16"), b'"\xff"'])
def test_other_encodings_are_left_to_json(data: bytes) -> None:
    assert _outcome(loads, data) == _outcome(json.loads, data)


def test_depth_is_an_error_not_a_crash() -> None:
    with pytest.raises(RecursionError):
        loads("[" * 200_000)


def test_it_refuses_what_json_refuses() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})


def test_it_imports_neither_re_nor_json() -> None:
    code = (
        "import sys; from nacre.words.quickjson import *; loads('{\"a\":[1]}'); dumps({'a': 1}); "
        "print([m for m in ('re', 'json', 'enum') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
