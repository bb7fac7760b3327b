"""Conditional requests: what the client says that it has already, or that must be there for a change.

    If-Match      = "*" / #entity-tag                                RFC 9110, 13.1.1
    If-None-Match = "*" / #entity-tag                                RFC 9110, 13.1.2
    entity-tag    = [ "W/" ] DQUOTE *etagc DQUOTE                    RFC 9110, 8.8.3

A weak tag names nothing for If-Match, and counts like a strong one for If-None-Match. A tag without its
quotes is taken too, as docker's registry takes it.
"""

from __future__ import annotations

from ...words.value import Value
from .errors import Code, refusal
from .fields import Scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def etag(digest: str) -> str:
    """The `ETag` of content that is named by its digest."""
    return f'"{digest}"'


class Conditions(Value):
    """The fields If-Match and If-None-Match of a request, "" where there is none."""

    match: str = ""
    none_match: str = ""

    def has_already(self, digest: str) -> bool:
        """Does If-None-Match name the content `digest`, or anything at all?"""
        return any(tag == digest or any_one for tag, _, any_one in _tags(self.none_match))

    def check_match(self, digest: str) -> None:
        """`digest` is what is there, "" if nothing. Raises RegistryError (412) if If-Match names another."""
        if not self.match:
            return
        tags = list(_tags(self.match))
        if not digest or not any(any_one or (tag == digest and not weak) for tag, weak, any_one in tags):
            raise refusal(Code.PRECONDITION_FAILED, f"If-Match does not name {digest or 'what is absent'}")

    def check_change(self, digest: str) -> None:
        """May what is there, `digest` or "", be replaced or deleted? Raises RegistryError (412)."""
        self.check_match(digest)
        if digest and self.has_already(digest):
            raise refusal(Code.PRECONDITION_FAILED, f"If-None-Match names {digest}, which is there")


ANYTHING = Conditions()
"""No condition."""


def _tags(field: str) -> Iterator[tuple[str, bool, bool]]:
    """Each tag, whether it is weak, and whether it is the `*` that stands for any."""
    scan = Scanner(field)
    while not scan.done:
        scan.skip(" \t,")
        start = scan.at
        weak = scan.take("W") and scan.take("/")
        if not weak:
            scan.at = start
        quoted = scan.take('"')
        tag = scan.until('"') if quoted else scan.until(",").strip()
        yield tag, weak, tag == "*" and not quoted and not weak
