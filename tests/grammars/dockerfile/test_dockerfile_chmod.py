from __future__ import annotations

import pytest

from nacre.grammars.dockerfile.chmod import apply, is_symbolic, octal


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("u+x", 0o644, 0o744),
        ("+x", 0o644, 0o755),
        ("a-w", 0o666, 0o444),
        ("go=", 0o755, 0o700),
        ("u=rwX,go=rX", 0o600, 0o644),
        ("u=rwX,go=rX", 0o700, 0o755),
        ("g=u", 0o640, 0o660),
        ("o=g-w", 0o664, 0o664),
        ("u+s,g+s,+t", 0o755, 0o7755),
        ("u=rx", 0o4755, 0o555),
        ("u+r-w+x", 0o200, 0o500),
    ],
)
def test_symbols_on_files(text: str, before: int, after: int) -> None:
    assert is_symbolic(text)
    assert apply(text, before, False) == after


def test_capital_x_on_folders() -> None:
    assert apply("u=rwX,go=rX", 0o600, True) == 0o755


@pytest.mark.parametrize("text", ["", "u", "u+q", "755", "u+x,", "u~x", "b+x", "u+rg"])
def test_no_symbols(text: str) -> None:
    assert not is_symbolic(text)


def test_octal() -> None:
    assert (octal("755"), octal("0755"), octal("7777"), octal("04755")) == (0o755, 0o755, 0o7777, 0o4755)
    assert octal("8") is octal("10000") is octal("") is octal("u+x") is None
