"""Conditional requests: what the client says that it has already.

    If-None-Match = "*" / #entity-tag                                RFC 9110, 13.1.2
    entity-tag    = [ "W/" ] DQUOTE *etagc DQUOTE                    RFC 9110, 8.8.3

Weak tags count like strong ones here, and a tag without its quotes too: docker's registry takes it so.
"""

from __future__ import annotations

from .fields import Scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def etag(digest: str) -> str:
    """The `ETag` of content that is named by its digest."""
    return f'"{digest}"'


def has_already(field: str, digest: str) -> bool:
    """Does an `If-None-Match` field name the content `digest`, or anything at all?"""
    return any(tag == digest or (tag == "*" and not quoted) for tag, quoted in _tags(field))


def _tags(field: str) -> Iterator[tuple[str, bool]]:
    """Each tag, and whether it had quotes."""
    scan = Scanner(field)
    while not scan.done:
        scan.skip(" \t,")
        start = scan.at
        if not (scan.take("W") and scan.take("/")):
            scan.at = start
        quoted = scan.take('"')
        yield (scan.until('"') if quoted else scan.until(",").strip()), quoted
