"""Image references as docker reads them.

    reference  = name [ ":" tag ] [ "@" digest ]
    name       = [ domain "/" ] path
    domain     = host [ ":" port ]        the first component, if it has a "." or ":", is "localhost",
                                          or has an upper-case letter
    path       = component *( "/" component )
    component  = alnum *( separator alnum )     alnum = 1*( a-z / 0-9 )
    separator  = "." / "_" / "__" / 1*"-"
    tag        = ( word ) *127( word / "." / "-" )

Source: distribution/reference, "Grammar"; docker's defaults `docker.io`, `library/` and `latest`.
Written without `re`, which alone would add a third to the start of `nacre run`.
"""

from __future__ import annotations

from .digest import Digest
from .errors import InvalidName, UsageError
from .value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_UPPER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_WORD = _LOWER | _UPPER | {"_"}
_TAG = _WORD | {".", "-"}
_HOST = _LOWER | _UPPER | {"-", "."}
_IPV6 = frozenset("0123456789abcdefABCDEF:")
_HEX = frozenset("0123456789abcdef")


class Reference(Value):
    """A full name: `registry` (with port), `repository`, and a `tag`, a `digest` or both.

    `tag` is "" only when a digest is given without one.
    """

    registry: str
    repository: str
    tag: str = DEFAULT_TAG
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference as a user types it. Raises InvalidName, which names the fault."""
        rest, at, digest = text.partition("@")
        name, tag = _split_tag(rest)
        registry, path = _split_registry(name, text)
        _check_path(path, text)
        if registry == DEFAULT_REGISTRY and "/" not in path:
            path = "library/" + path
        _check_length(registry, path, text)
        if tag is not None:
            _check_tag(tag, text)
        fixed = Digest(digest) if at else None
        return cls(registry, path, tag if tag is not None else ("" if at else DEFAULT_TAG), fixed)

    @classmethod
    def of(cls, name: str | Reference) -> Reference:
        """A reference, read unless it is one already. Raises InvalidName."""
        return name if isinstance(name, Reference) else cls.parse(name)

    @property
    def name(self) -> str:
        """Registry and repository, without tag or digest: `docker.io/library/app`."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name as docker prints it: without `docker.io/` and `library/`."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return self.repository.removeprefix("library/")

    @property
    def familiar(self) -> str:
        """The whole reference as docker prints it."""
        return self.familiar_name + self._suffix()

    @property
    def target(self) -> str:
        """What to ask a registry for: the digest if there is one, else the tag."""
        return self.digest or self.tag

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        """The canonical form, the key under which a store keeps it."""
        return self.name + self._suffix()


def _split_tag(text: str) -> tuple[str, str | None]:
    head, colon, tail = text.rpartition(":")
    if not colon or "/" in tail:
        return text, None
    return head, tail


def _split_registry(name: str, text: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not _is_registry(first):
        return DEFAULT_REGISTRY, name
    if first in ("index.docker.io", "registry-1.docker.io"):
        return DEFAULT_REGISTRY, rest
    _check_host(first, text)
    return first, rest


def registry_name(text: str) -> str:
    """`host[:port]` from a name or a URL as docker takes it, "" is Docker Hub. Raises InvalidName."""
    host = text.removeprefix("https://").removeprefix("http://").partition("/")[0]
    if not host or host in ("index.docker.io", "registry-1.docker.io", DEFAULT_REGISTRY):
        return DEFAULT_REGISTRY
    if "." in host or ":" in host or host == "localhost":
        return Reference.parse(f"{host}/x").registry
    raise UsageError(f"{text!r} is not a registry", hint="expected host, host:port or localhost")


def is_host(name: str) -> bool:
    """True for `host:NAME`, an image made from this machine, which is no name of a registry."""
    return name.startswith("host:") and "/" not in name and "@" not in name


def is_loopback(host: str) -> bool:
    """Is `host` (with or without port) this machine: 127.0.0.0/8, ::1 or localhost, as docker decides it."""
    name = host.rpartition(":")[0] if host.count(":") == 1 or "]:" in host else host
    if name.strip("[]") in ("localhost", "::1"):
        return True
    parts = name.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(p.isdecimal() and int(p) < 256 for p in parts)


def split_search(term: str) -> tuple[str, str]:
    """The registry and the words of a search: `host/words`, or words for Docker Hub. Raises InvalidName."""
    first, slash, rest = term.partition("/")
    if slash and _is_registry(first):
        _check_host(first, term)
        registry, words = (DEFAULT_REGISTRY if first.endswith("docker.io") else first), rest
    else:
        registry, words = DEFAULT_REGISTRY, term
    if not words or not words.isprintable():
        raise InvalidName(f"invalid search term {term!r}")
    return registry, words


def _is_registry(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost" or not _UPPER.isdisjoint(first)


def _check_host(host: str, text: str) -> None:
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    elif not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise _invalid(text, f"{port!r} is not a port")
    if name.startswith("[") and len(name) > 2 and name.endswith("]") and _IPV6.issuperset(name[1:-1]):
        return
    labels = name.split(".")
    if not _HOST.issuperset(name) or any(not p or p[0] == "-" or p[-1] == "-" for p in labels):
        raise _invalid(text, f"{name!r} is not a host name")


def _check_path(path: str, text: str) -> None:
    if not path:
        raise _invalid(text, "it has no repository name")
    if not _UPPER.isdisjoint(path):
        raise _invalid(text, "a repository name must be lower case")
    for component in path.split("/"):
        if not _is_component(component):
            raise _invalid(text, f"{component!r} is not a valid name component")
    if len(path) == 64 and _HEX.issuperset(path):
        raise _invalid(text, "64 hexadecimal digits look like an image id")


def _is_component(component: str) -> bool:
    if not component or component[0] not in _LOWER or component[-1] not in _LOWER:
        return False
    separator = ""
    for char in component:
        if char in _LOWER:
            separator = ""
            continue
        separator += char
        if separator not in (".", "_", "__") and separator.strip("-"):
            return False
    return True


def _check_tag(tag: str, text: str) -> None:
    if not tag or len(tag) > 128 or tag[0] not in _WORD or not _TAG.issuperset(tag):
        raise _invalid(text, f"{tag[:150]!r} is not a valid tag")


def _check_length(registry: str, path: str, text: str) -> None:
    if len(registry) + 1 + len(path) > 255:
        raise _invalid(text[:300], "a name may have at most 255 characters")


def _invalid(text: str, why: str) -> InvalidName:
    return InvalidName(f"invalid reference format: {text!r}: {why}")
