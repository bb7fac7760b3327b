"""Paths of the protocol: built by the client, matched by the server, from one table.

    path        = "/v2/" [ "_catalog" / name "/" resource ]
    resource    = "tags/list" / "manifests/" reference / "blobs/" digest
                / "blobs/uploads/" [ id ] / "referrers/" digest
    name        = component *( "/" component )            at most 255 characters
    component   = alnum *( separator alnum )              alnum = 1*( a-z / 0-9 )
    separator   = "." / "_" / "__" / 1*"-"
    reference   = tag / digest                            a digest is told by its ":"
    tag         = word *127( word / "." / "-" )           word = ALPHA / DIGIT / "_"
    id          = 1*128( word / "." / "=" / "-" )         opaque to clients

A component may itself be called `blobs` or `manifests`, so a path is read from its end. Source:
distribution-spec v1.1, "Endpoints" and "Pulling manifests".
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from urllib.parse import quote, unquote

from ...words.digest import Digest
from ...words.errors import InvalidName
from ...words.value import Value
from .errors import Code, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_NAME = 255
MAX_PATH = 1024
"""Longest path that can mean anything: the longest name and a sha512 digest fit, percent-encoded too."""

_ALNUM = "[a-z0-9]+"
_COMPONENT = rf"{_ALNUM}(?:(?:\.|_|__|-+){_ALNUM})*"
_NAME = re.compile(f"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_UPLOAD = re.compile(r"[\w.=-]{1,128}", re.ASCII)


class Endpoint(Enum):
    """What a path is about; the value is its shape."""

    BASE = "/v2/"
    CATALOG = "/v2/_catalog"
    TAGS = "/v2/{name}/tags/list"
    MANIFEST = "/v2/{name}/manifests/{reference}"
    BLOB = "/v2/{name}/blobs/{reference}"
    UPLOADS = "/v2/{name}/blobs/uploads/"
    UPLOAD = "/v2/{name}/blobs/uploads/{reference}"
    REFERRERS = "/v2/{name}/referrers/{reference}"


METHODS: Mapping[Endpoint, Sequence[str]] = {
    Endpoint.BASE: ("GET", "HEAD"),
    Endpoint.CATALOG: ("GET", "HEAD"),
    Endpoint.TAGS: ("GET", "HEAD"),
    Endpoint.MANIFEST: ("GET", "HEAD", "PUT", "DELETE"),
    Endpoint.BLOB: ("GET", "HEAD", "DELETE"),
    Endpoint.UPLOADS: ("POST",),
    Endpoint.UPLOAD: ("GET", "HEAD", "PATCH", "PUT", "DELETE"),
    Endpoint.REFERRERS: ("GET", "HEAD"),
}
"""The methods that each endpoint knows."""


class Route(Value):
    """A path understood: `name` a repository or "", `reference` a tag, digest or upload id or "".

    The name keeps the grammar; the reference is as the path gave it (decoded, without a slash) until
    `digest` or `tag` is asked for: what a bad one means depends on the method.
    """

    endpoint: Endpoint
    name: str = ""
    reference: str = ""

    @property
    def path(self) -> str:
        """The path that `match` turns into this route."""
        return self.endpoint.value.format(name=self.name, reference=quote(self.reference, ":"))

    @property
    def by_digest(self) -> bool:
        """Is the reference a digest (a good or a bad one) and no tag?"""
        return ":" in self.reference

    @property
    def digest(self) -> Digest:
        """The reference as a digest. Raises RegistryError DIGEST_INVALID."""
        return parse_digest(self.reference)

    @property
    def tag(self) -> str:
        """The reference as a tag. Raises RegistryError TAG_INVALID."""
        if not is_tag(self.reference):
            raise refusal(Code.TAG_INVALID, f"invalid tag {self.reference[:150]!r}")
        return self.reference


def match(path: str) -> Route | None:
    """What `path` (percent-encoded, without query) is about; None if it is no path of the protocol.

    Raises RegistryError NAME_INVALID for a repository name outside the grammar. A percent-encoded
    slash is not a slash here.
    """
    if path in ("/v2", "/v2/"):
        return Route(Endpoint.BASE)
    if len(path) > MAX_PATH or not path.startswith("/v2/"):
        return None
    parts = [unquote(part) for part in path.split("/")[2:]]
    found = Route(Endpoint.CATALOG) if parts == ["_catalog"] else _resource(parts)
    if found is None or found.endpoint is Endpoint.CATALOG:
        return found
    if "/" in found.reference:
        return None
    check_name(found.name)
    return found


def _resource(parts: list[str]) -> Route | None:
    """From the end of the path, the longest shape first; the name is not yet checked."""
    last = parts[-1]
    if parts[-2:] == ["tags", "list"]:
        return Route(Endpoint.TAGS, _join(parts[:-2]))
    if parts[-3:-1] == ["blobs", "uploads"]:
        return Route(Endpoint.UPLOAD if last else Endpoint.UPLOADS, _join(parts[:-3]), last)
    if parts[-2:] == ["blobs", "uploads"]:
        return Route(Endpoint.UPLOADS, _join(parts[:-2]))
    endpoint = _KINDS.get(parts[-2] if len(parts) > 1 else "")
    return Route(endpoint, _join(parts[:-2]), last) if endpoint and last else None


_KINDS = {
    "manifests": Endpoint.MANIFEST,
    "blobs": Endpoint.BLOB,
    "referrers": Endpoint.REFERRERS,
}


def _join(parts: list[str]) -> str:
    """The name; a slash that was encoded becomes something no name may hold."""
    return "/".join(part.replace("/", "%2F") for part in parts)


def check_name(name: str) -> str:
    """`name` itself when it is a repository name. Raises RegistryError NAME_INVALID."""
    if not is_name(name):
        raise refusal(Code.NAME_INVALID, f"invalid repository name {name[:MAX_NAME]!r}")
    return name


def is_name(name: str) -> bool:
    """Does `name` keep the grammar of repository names?"""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def is_tag(tag: str) -> bool:
    """Does `tag` keep the grammar of tags?"""
    return _TAG.fullmatch(tag) is not None


def is_upload(upload: str) -> bool:
    """Does `upload` keep the grammar of upload ids (ours; another registry's are opaque)?"""
    return _UPLOAD.fullmatch(upload) is not None


@lru_cache(1024)
def parse_digest(text: str) -> Digest:
    """A digest from a path or a query. Raises RegistryError DIGEST_INVALID."""
    try:
        return Digest(text)
    except InvalidName as error:
        raise refusal(Code.DIGEST_INVALID, error.message) from None


def base() -> str:
    """The path that says whether this is a registry."""
    return Route(Endpoint.BASE).path


def catalog() -> str:
    """The path of the list of repositories."""
    return Route(Endpoint.CATALOG).path


def tags(name: str) -> str:
    """The path of the list of tags of a repository."""
    return Route(Endpoint.TAGS, name).path


def manifest(name: str, reference: str) -> str:
    """The path of a manifest by tag or digest."""
    return Route(Endpoint.MANIFEST, name, reference).path


def blob(name: str, digest: str) -> str:
    """The path of a blob."""
    return Route(Endpoint.BLOB, name, digest).path


def uploads(name: str, *, digest: str = "", mount: str = "", source: str = "") -> str:
    """Where an upload begins, with its query: `digest` for one whole blob, `mount` (and `source`, the
    repository that holds it) for one the registry has.
    """
    query = {"digest": digest, "mount": mount, "from": source}
    pairs = "&".join(f"{key}={quote(value, '')}" for key, value in query.items() if value)
    return Route(Endpoint.UPLOADS, name).path + (f"?{pairs}" if pairs else "")


def upload(name: str, upload_id: str) -> str:
    """The path of an upload. Only the server builds it: a client uses the Location it was given."""
    return Route(Endpoint.UPLOAD, name, upload_id).path


def referrers(name: str, digest: str) -> str:
    """The path of the list of what refers to a manifest."""
    return Route(Endpoint.REFERRERS, name, digest).path
