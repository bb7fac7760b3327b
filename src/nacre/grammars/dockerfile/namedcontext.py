"""`--build-context NAME=VALUE`: a context that a Dockerfile names as it names an image.

    value = "docker-image://" reference / "oci-layout://" folder [ ":" tag ] [ "@" digest ]
          / repository / URL / "target:" stage of a bake file / folder

A name is that of an image without `docker.io/library/` and `:latest`, so that it stands for each spelling.
Sources: docker's buildx reference, "--build-context"; BuildKit's dockerui.
"""

from __future__ import annotations

from ...words.errors import InvalidName, Unsupported, UsageError
from ...words.reference import Reference
from .gitsource import is_git

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE, LAYOUT, TARGET = "docker-image://", "oci-layout://", "target:"
TARGET_IMAGE = "target://"
"""Before the name of a target whose image a build is made from; no image has such a name."""
_WEB = ("http://", "https://")
_SHORT = "github.com/"


def read_context(written: str) -> tuple[str, str]:
    """The name of a context, as `find_context` looks for it, and its value. Raises UsageError."""
    name, equals, value = written.partition("=")
    if not equals:
        raise UsageError(f"invalid context value: {written}, expected key=value")
    try:
        key = context_name(name)
    except InvalidName as error:
        raise UsageError(f"invalid context name {name}: {error.message}") from None
    if value.startswith(TARGET):
        raise Unsupported(
            f"--build-context {written}: only a bake file has targets", hint="name a stage with COPY --from"
        )
    return key, value


def context_name(name: str) -> str:
    """A name as docker prints that of an image, without `:latest`. Raises InvalidName."""
    return Reference.parse(name).familiar.removesuffix(":latest")


def find_context(name: str, contexts: Mapping[str, str]) -> str:
    """The context, among those by name, that an image's or a stage's name means; "" for none."""
    try:
        key = context_name(name) if contexts else ""
    except InvalidName:
        return ""
    return key if key in contexts else ""


def image_of(value: str) -> str | None:
    """The image that a value means: a name, `oci-layout://…` as it is, or `target://…`; None for files."""
    if value.startswith(LAYOUT):
        return value
    if value.startswith(TARGET):
        return TARGET_IMAGE + value.removeprefix(TARGET)
    return value.removeprefix(IMAGE) if value.startswith(IMAGE) else None


def is_url(value: str) -> bool:
    """Whether a context is fetched, and not by git."""
    return value.startswith(_WEB) and not is_git(value)


def repository_of(value: str) -> str:
    """The source that a context has in git, "" for others; `github.com/…` is one as well."""
    if value.startswith(_SHORT):
        return f"https://{value}"
    return value if is_git(value) else ""


def redacted(url: str) -> str:
    """Without the password or token in it; anything else than such a URL as it is."""
    if "://" not in url or "@" not in url:
        return url
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if not parts.scheme.startswith("http") or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
