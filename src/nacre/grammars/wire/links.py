"""URLs that a registry hands out: `Link` for the next page, `Location` of an upload, redirects.

    Link        = #( "<" URI-reference ">" *( ";" parameter ) )        RFC 8288, 3

The rule that all of it serves: what is secret stays with the origin (scheme, host, port) that it was
meant for, and nothing begun over TLS goes on without it.
"""

from __future__ import annotations

from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from ...words.errors import RegistryError
from .fields import Scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_URL = 16 * 1024
"""Characters of the longest URL that is accepted (signed storage URLs reach about 4 KiB)."""

_PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str, int]


def parse_links(field: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each target of a `Link` field with its parameters (names in lower case)."""
    scan = Scanner(field)
    while not scan.done:
        scan.skip(" \t,")
        if not scan.take("<"):
            scan.skip_to(",")
            continue
        yield scan.until(">"), dict(scan.parameters())
        scan.skip_to(",")


def next_page(url: str, field: str) -> str:
    """The absolute URL of the page after `url` by its `Link` field, "" if this is the last.

    Raises RegistryError when it leaves the origin of `url`: a page is asked for with credentials.
    """
    for target, parameters in parse_links(field):
        if "next" in parameters.get("rel", "").lower().split():
            following = join(url, target)
            if origin(following) != origin(url):
                raise RegistryError(f"the next page of {shown(url)} is on another host: {shown(following)}")
            return following
    return ""


def join(base: str, target: str) -> str:
    """`target` made absolute by `base` (RFC 3986, 5). Raises RegistryError unless it is plain http(s)."""
    if len(target) > MAX_URL or not target.isascii() or not target.isprintable() or " " in target:
        raise RegistryError(
            f"registry sent a URL that is too long or has invalid characters: {target[:100]!r}"
        )
    try:
        url = urljoin(base, target)
        origin(url)
    except ValueError:
        raise RegistryError(f"registry sent an invalid URL: {target[:200]!r}") from None
    return url


def upload_location(base: str, target: str) -> str:
    """Where an upload goes on: `Location`, made absolute by the URL of the request.

    A registry behind a TLS proxy often believes it is spoken to in the clear and answers with
    `http://` and its own name; that is read as the `https://` it was reached by. Raises
    RegistryError when there is no location, or one that would leave TLS.
    """
    if not target:
        raise RegistryError(f"registry gave no Location for the upload {shown(base)}")
    url = join(base, target)
    old, new = origin(base), origin(url)
    if old[0] == "https" and new[0] == "http" and new[1] == old[1] and new[2] in (80, old[2]):
        return urlunsplit(("https", urlsplit(base).netloc, *urlsplit(url)[2:]))
    return check_downgrade(base, url)


def check_downgrade(base: str, url: str) -> str:
    """`url`, unless it leads from TLS to plain HTTP, which raises RegistryError."""
    if base.startswith("https:") and not url.startswith("https:"):
        raise RegistryError(f"{shown(base)} leads to {shown(url)}, which is not encrypted: not allowed")
    return url


def origin(url: str) -> Origin:
    """Scheme, host and port. Raises ValueError for anything but http and https with a host.

    Also for a backslash: of `http://a\\@b/` some readers take `a` for the host, some `b`.
    """
    parts = urlsplit(url)
    if "\\" in url:
        raise ValueError(f"a backslash in {url[:200]!r}")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"not an HTTP URL: {url[:200]!r}")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def with_query(url: str, **values: str) -> str:
    """`url` with more query values; those it has stay as they are, byte for byte (`_state` is opaque)."""
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(values, safe=":/")) if part)
    return urlunsplit(parts._replace(query=query, fragment=""))


def shown(url: str) -> str:
    """`url` fit for a message: without credentials and without its query, which may be a signature."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))[:300]
