from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.wire.warning import format_warning


def test_a_warning() -> None:
    assert format_warning('say "no" \\ stop') == r'299 - "say \"no\" \\ stop"'


@given(st.text())
def test_no_text_breaks_the_header(text: str) -> None:
    field = format_warning(text * 20)
    assert field.startswith('299 - "')
    assert field.endswith('"')
    assert field.isascii()
    assert field.isprintable()
    assert len(field) < 2100
