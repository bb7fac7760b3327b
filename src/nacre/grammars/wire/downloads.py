"""How a file that is downloaded is called, and when it was changed.

    Content-Disposition = type *( ";" parameter )      its filename or filename*: RFC 6266, 4
    Last-Modified       = HTTP-date                    RFC 9110, 8.8.2

Both come from outside: a name that is no plain name of a file is none.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from .fields import Scanner

_MAX_NAME = 255


def url_name(url: str) -> str:
    """The last part of the path of a URL, decoded; "" if that is no name of a file."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return _safe(unquote(path, errors="surrogateescape").rpartition("/")[2])


def disposition_name(field: str) -> str:
    """The name that a Content-Disposition gives, "" if it gives none that is safe."""
    scan = Scanner(field)
    scan.skip()
    scan.token()
    found = dict(scan.parameters())
    charset, quote, encoded = found.get("filename*", "").partition("'")
    if quote and charset.lower() in ("utf-8", "iso-8859-1"):
        name = unquote(encoded.partition("'")[2], encoding=charset, errors="replace")
    else:
        name = _utf8(found.get("filename", ""))
    return "" if "\\" in name else _safe(name)


def modified(field: str) -> int | None:
    """The seconds since 1970 that a Last-Modified means, None for none."""
    from calendar import timegm
    from email.utils import parsedate_to_datetime

    try:
        return max(timegm(parsedate_to_datetime(field).utctimetuple()), 0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _utf8(text: str) -> str:
    """Header fields are read as Latin-1; most servers mean UTF-8."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _safe(name: str) -> str:
    length = len(name.encode("utf-8", "surrogateescape"))
    unfit = name in (".", "..") or "/" in name or "\0" in name or length > _MAX_NAME
    return "" if unfit else name
