"""Images out of and into a docker daemon: `docker save` and `docker load` over its socket.

    GET  /images/{name}/get       the archive of an image
    POST /images/load             takes one; answers with a stream of JSON, errors among it

Without a version in the path the daemon takes its newest. Source: Docker Engine API, "Image"; docker's
DOCKER_HOST.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ...words.errors import NacreError, NotFound, RegistryError, Unreachable, Unsupported, UsageError

if TYPE_CHECKING:
    from ...grammars.tar.entry import Reader

DEFAULT_HOST = "unix:///var/run/docker.sock"
_MAX_ANSWER = 1 << 20
_PATIENCE = 600.0


class DockerDaemon:
    """The daemon at `host` (`unix:///path` or `tcp://host:port`, "" is docker's default)."""

    def __init__(self, host: str = "") -> None:
        """Nothing is sent yet. Raises UsageError, Unsupported for ssh and TLS."""
        self.host = host or DEFAULT_HOST
        self._parts = urlsplit(self.host)
        if self._parts.scheme not in ("unix", "tcp", "http"):
            if self._parts.scheme in ("ssh", "https", "npipe", "fd"):
                raise Unsupported(f"a docker daemon at {self.host} is not supported",
                                  hint="forward its socket, and set DOCKER_HOST=unix:///path")  # fmt: skip
            raise UsageError(f"invalid DOCKER_HOST {self.host!r}: expected unix:///path or tcp://host:port")

    @contextmanager
    def images(self, name: str) -> Iterator[Reader]:
        """The archive of the image `name`. Raises NotFound, Unreachable, RegistryError."""
        with self._connection() as connection, self._errors():
            connection.request("GET", f"/images/{quote(name, safe='')}/get")
            response = connection.getresponse()
            if response.status != 200:
                raise self._refusal(response, name)
            yield _ResponseBody(response, self.host)

    @contextmanager
    def loading(self) -> Iterator[Callable[[bytes], object]]:
        """Takes an archive; it is loaded when the block ends well, and not at all otherwise."""
        with self._connection() as connection:
            with self._errors():
                connection.putrequest("POST", "/images/load?quiet=1")
                connection.putheader("Content-Type", "application/x-tar")
                connection.putheader("Transfer-Encoding", "chunked")
                connection.endheaders()

            def write(data: bytes) -> None:
                with self._errors():
                    connection.send(b"%x\r\n%b\r\n" % (len(data), data))

            try:
                yield write
            except Unreachable:
                self._early(connection)
                raise
            with self._errors():
                connection.send(b"0\r\n\r\n")
                self._check(connection.getresponse())

    def _early(self, connection: HTTPConnection) -> None:
        """A daemon that hung up while it was sent something may have said why."""
        with suppress(HTTPException, OSError):
            self._check(connection.getresponse())

    def _check(self, response: HTTPResponse) -> None:
        """Raises RegistryError for what the daemon did not load."""
        if response.status != 200:
            raise self._refusal(response, "an archive")
        for line in response.read(_MAX_ANSWER).split(b"\n"):
            said = _field(line, "error")
            if said:
                raise RegistryError(f"the docker daemon could not load the image: {said}")

    def _refusal(self, response: HTTPResponse, name: str) -> NacreError:
        said = _field(response.read(_MAX_ANSWER), "message") or f"status {response.status}"
        if response.status == 404:
            return NotFound(f"the docker daemon has no image {name}")
        return RegistryError(f"the docker daemon refused {name}: {said}", status=response.status)

    @contextmanager
    def _connection(self) -> Iterator[HTTPConnection]:
        parts = self._parts
        connection = (
            _Unix(parts.path or parts.netloc) if parts.scheme == "unix"
            else HTTPConnection(parts.hostname or "", parts.port or 2375, timeout=_PATIENCE)
        )  # fmt: skip
        with closing(connection):
            with self._errors():
                connection.connect()
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unreachable(
                f"cannot reach the docker daemon at {self.host}: {why.lower()}",
                hint="is it running? DOCKER_HOST selects another one",
            ) from None


class _Unix(HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _ResponseBody:
    """The body of an answer."""

    def __init__(self, response: HTTPResponse, host: str) -> None:
        self._response, self._host = response, host

    def read(self, size: int, /) -> bytes:
        try:
            return self._response.read(size)
        except (OSError, HTTPException) as error:
            raise Unreachable(f"the docker daemon at {self._host} broke off: {error}") from None


def _field(data: bytes, name: str) -> str:
    """A text in a JSON object, printable and short; "" if there is none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    text = found.get(name) if isinstance(found, dict) else None
    return "".join(char if char.isprintable() else " " for char in str(text)[:300]) if text else ""
