"""JSON without the import of `json`, which pulls in `re` and `enum` and costs a tenth of `nacre run`.

The C scanner and encoder beneath `json` are used directly; whatever they do not like is given to
`json` itself, so that results and errors are always those of `json`. Compact, keys in the order given.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

try:
    from _json import encode_basestring as _quote
    from _json import make_encoder as _make_encoder
    from _json import make_scanner as _make_scanner
except ImportError:  # another Python than CPython
    _make_encoder = _make_scanner = _quote = None  # type: ignore[assignment, misc]

_SPACE = " \t\n\r"


class _Rules:
    """What the scanner asks of a decoder; the defaults of `json.JSONDecoder`."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float
    memo: dict[str, str] = {}  # noqa: RUF012


def loads(text: str | bytes) -> Any:
    """As `json.loads`. Raises ValueError, RecursionError."""
    if _make_scanner is not None:
        try:
            plain = text.decode() if isinstance(text, bytes) else text
            start = len(plain) - len(plain.lstrip(_SPACE))
            value, end = _scanner()(plain, start)
            if not plain[end:].strip(_SPACE):
                return value
        except (StopIteration, SystemError, ValueError):
            pass  # `json` itself says what is wrong, in its own words
    import json

    return json.loads(text)


def dumps(value: Any) -> str:
    """As `json.dumps` with `separators=(",", ":")` and `ensure_ascii=False`.

    But that bytes which are no UTF-8, lone surrogates in a str, are escaped: `loads` gives them back.
    """
    if _make_encoder is not None:
        try:
            pieces = _encoder()(value, 0)
        except (TypeError, ValueError):
            pieces = None
        if pieces is not None:
            return escaped("".join(pieces))
    import json

    return escaped(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def quoted(text: str) -> str:
    """A string as `json.dumps` with `ensure_ascii=False` writes it, lone surrogates as they are."""
    if _quote is not None:
        return _quote(text)
    import json

    return json.dumps(text, ensure_ascii=False)


def escaped(text: str) -> str:
    r"""JSON with its lone surrogates as `\udcff`, which any encoding can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in text)
    return text


def _scanner() -> Callable[[str, int], tuple[Any, int]]:
    rules: Any = _Rules()
    return _make_scanner(rules)


def _encoder() -> Callable[[Any, int], tuple[str, ...]]:
    return _make_encoder(None, _refuse, _quote, None, ":", ",", False, False, True)


def _refuse(value: Any) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
