"""The page of a package in an index: JSON (PEP 691) or HTML (PEP 503), into files."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin

from ...words.errors import InvalidDocument
from .files import IndexFile, hashes_in_url, name_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_FILE = (".whl", ".tar.gz", ".zip")


def parse_page(data: bytes, media_type: str, url: str) -> list[IndexFile]:
    """The wheels and source archives of a page that came from `url`. Raises InvalidDocument."""
    kind = media_type.partition(";")[0].strip().lower()
    found = _from_json(data, url) if kind.endswith("json") else _from_html(data, url)
    return [file for file in found if file.name.endswith(_FILE) and "/" not in file.name]


def _from_json(data: bytes, url: str) -> list[IndexFile]:
    try:
        page = json.loads(data)
        version = str(page["meta"]["api-version"])
        if version.partition(".")[0] != "1":
            raise InvalidDocument(f"the index page {url} has version {version[:20]}, which is not known")
        return [_file(row, url) for row in page["files"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidDocument(f"the index page {url} is not a list of files") from None


def _file(row: dict[str, Any], url: str) -> IndexFile:
    core = row.get("core-metadata", row.get("dist-info-metadata", False))
    return IndexFile(
        str(row["filename"]), urljoin(url, str(row["url"])),
        tuple(sorted((str(name), str(value).lower()) for name, value in row.get("hashes", {}).items())),
        str(row.get("requires-python") or ""), row.get("yanked", False) is not False, bool(core),
        row["size"] if isinstance(row.get("size"), int) else 0,
    )  # fmt: skip


def _from_html(data: bytes, url: str) -> list[IndexFile]:
    page = _Page(url)
    page.feed(data.decode("utf-8", "replace"))
    return page.files


class _Page(HTMLParser):
    """Collects the anchors; a <base> changes what their links mean."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._base = url
        self.files: list[IndexFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = {name: value or "" for name, value in attrs}
        if tag == "base" and fields.get("href"):
            self._base = urljoin(self._base, fields["href"])
        elif tag == "a" and fields.get("href"):
            self._add(fields)

    def _add(self, fields: dict[str, str]) -> None:
        address, fragment = urldefrag(urljoin(self._base, fields["href"].strip()))
        core = fields.get("data-core-metadata", fields.get("data-dist-info-metadata", "false"))
        self.files.append(
            IndexFile(
                name_in(address),
                address,
                hashes_in_url(f"#{fragment}"),
                fields.get("data-requires-python", ""),
                "data-yanked" in fields,
                core != "false",
            )
        )
