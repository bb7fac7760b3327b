import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.wire import ranges
from nacre.grammars.wire.ranges import Span, parse_range
from nacre.words.errors import RegistryError

offsets = st.integers(0, 10**17)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("bytes=0-9", Span(0, 9)), ("bytes=5-", Span(5, 99)), ("bytes=-5", Span(95, 99)),
        ("bytes=90-1000", Span(90, 99)), ("bytes=-1000", Span(0, 99)), ("Bytes = 0 - 0", Span(0, 0)),
        ("bytes=99-99", Span(99, 99)),
    ],
)  # fmt: skip
def test_a_range_of_100_bytes(text: str, span: Span) -> None:
    assert parse_range(text, 100) == span


@pytest.mark.parametrize(
    "text",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=0-1,5-6", "lines=0-1", "bytes=1-x",
     "bytes=+1-2", "bytes=\u0661-2", "bytes=1-" + "9" * 5000, "bytes=--5"],
)  # fmt: skip
def test_a_range_to_ignore(text: str) -> None:
    assert parse_range(text, 100) is None


@pytest.mark.parametrize(("text", "size"), [("bytes=100-", 100), ("bytes=200-300", 100), ("bytes=-0", 100),
                                            ("bytes=0-", 0), ("bytes=-1", 0)])  # fmt: skip
def test_a_range_outside(text: str, size: int) -> None:
    with pytest.raises(RegistryError) as caught:
        parse_range(text, size)
    assert caught.value.status == 416


@given(st.text(max_size=40), st.integers(0, 1000))
def test_a_span_lies_within(text: str, size: int) -> None:
    for prefix in ("", "bytes="):
        try:
            span = parse_range(prefix + text, size)
        except RegistryError:
            continue
        assert span is None or 0 <= span.start <= span.last < size


@given(offsets, st.integers(1, 10**9))
def test_what_is_written_is_read(start: int, length: int) -> None:
    span = Span(start, start + length - 1)
    assert span.length == length
    assert parse_range(ranges.format_range(start, span.last), start + length) == span
    assert parse_range(ranges.format_range(start), start + length) == span
    assert ranges.parse_chunk(ranges.format_chunk(span)) == span
    for size in (start + length, None):
        assert ranges.parse_content_range(ranges.format_content_range(span, size)) == (span, size)


@given(st.integers(2, 10**17))
def test_received_comes_back(count: int) -> None:
    assert ranges.parse_received(ranges.format_received(count)) == count


def test_nothing_and_one_byte_look_the_same() -> None:
    assert ranges.format_received(0) == ranges.format_received(1) == "0-0"
    assert ranges.parse_received("0-0") == 0
    assert ranges.parse_received("bytes=0-9") == 10


def test_an_unsatisfied_answer() -> None:
    assert ranges.format_content_range(None, 100) == "bytes */100"
    assert ranges.parse_content_range("bytes */100") == (None, 100)


@pytest.mark.parametrize(
    "text", ["", "0-9/10", "bytes 9-0/1", "bytes 0-9", "bytes 0-9/x", "bytes x/10", "l 0-9/10"]
)
def test_no_content_range(text: str) -> None:
    with pytest.raises(RegistryError):
        ranges.parse_content_range(text)


@pytest.mark.parametrize("text", ["", "9-0", "-", "0-", "-5", "a-b", "0-9-10", "0x1-2", "0-" + "9" * 30])
def test_no_chunk(text: str) -> None:
    with pytest.raises(RegistryError) as caught:
        ranges.parse_chunk(text)
    assert (caught.value.status, caught.value.code) == (416, "RANGE_INVALID")


def test_chunks_in_http_spelling() -> None:
    assert ranges.parse_chunk("bytes 0-9/10") == ranges.parse_chunk("bytes=0-9") == Span(0, 9)


def test_received_must_begin_at_zero() -> None:
    with pytest.raises(RegistryError):
        ranges.parse_received("5-9")
