"""Files of variables, as docker reads them."""

from __future__ import annotations

import pytest

from nacre.grammars.envfile import read_variables
from nacre.words.errors import UsageError


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"\xef\xbb\xbfFIRST=1\nB=2", ["FIRST=1", "B=2"]),
        (b"A=1\r\nB=2\r\n", ["A=1", "B=2"]),
        (b"  # A=1\n\t#B\n#C\n\n  \nD=1 # stays \n", ["D=1 # stays "]),
        (b'  A= "x" \nB\nC=\nD==', ['A= "x" ', "B", "C=", "D=="]),
        (b"A=a\x0cb\nB=\xc2\x85b\nC=\xe2\x80\xa8b\nD=a\rb\n", ["A=a\fb", "B=\x85b", "C=\u2028b", "D=a\rb"]),
        (b"\xc2\xa0A=1\n\xe2\x80\x83#B\n", ["A=1"]),
        (b"A=$HOME\nB=${HOME}\nC='x'\n", ["A=$HOME", "B=${HOME}", "C='x'"]),
        (b"A=1\n\xef\xbb\xbfB=2\n", ["A=1", "\ufeffB=2"]),
        (b"A=1\nA=2\n1A=\na.b-c=4\n", ["A=1", "A=2", "1A=", "a.b-c=4"]),
        (b"#\n#A=1", []),
    ],
)
def test_what_is_read(data: bytes, found: list[str]) -> None:
    assert read_variables(data, "env") == found


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"A=1\nA B=1\n", "env:2: variable 'A B' contains whitespaces"),
        (b"A =1\n", "env:1: variable 'A ' contains whitespaces"),
        (b"export A=1\n", "env:1: variable 'export A' contains whitespaces"),
        (b"export HOME\n", "env:1: variable 'export HOME' contains whitespaces"),
        (b"HOME \n", "env:1: variable 'HOME ' contains whitespaces"),
        (b"A\t=1\n", "env:1: variable 'A\\t' contains whitespaces"),
        (b"\n=1\n", "env:2: no variable name on line '=1'"),
        (b"A=1\nB=\xff\n", "env:2: not UTF-8 text"),
        (b"A=a\0b\n", "env:1: variable 'A' contains a NUL byte"),
    ],
)
def test_what_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_variables(data, "env")
    assert caught.value.message == said
