"""Times as RFC 3339 writes them, read without all that `datetime` loads."""

from __future__ import annotations

TYPE_CHECKING = False


def parse_timestamp(text: str) -> float | None:
    """Whole seconds since 1970, a fraction left out; None for anything that is no such time.

    Listings of images and unchanged builds need it; the C half of `datetime` loads in a tenth of the time.
    """
    if TYPE_CHECKING:
        from datetime import datetime
    else:
        try:
            from _datetime import datetime
        except ImportError:  # another Python than CPython
            from datetime import datetime

    head, _, rest = text.partition(".")
    usual = head + rest.lstrip("0123456789")
    try:
        return datetime.fromisoformat(usual.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None
