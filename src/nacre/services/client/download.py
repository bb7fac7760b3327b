"""Reading a blob over connections that break.

    connect(at) ──► bytes … cut ──► connect(at + what came) ──► … ──► exactly `size` bytes or an error

A registry may ignore `Range` and send everything: then what is known already is read and dropped.
"""

from __future__ import annotations

from collections.abc import Callable

from ...grammars.wire.ranges import format_range, parse_content_range
from ...words.errors import RegistryError, TooLarge, Unreachable
from .retry import Retry, Transient
from .transport import BLOCK, Response

Connect = Callable[[dict[str, str]], Response]
"""Sends the GET with these headers; the response has status 200 or 206. For a blob it is one attempt."""


class Download:
    """A body of unknown length, from `connect({})` on. Close it.

    When it breaks off it resumes where it stopped, as often as `retry` allows, if the server has named this
    version of it (RFC 9110, 13.1.5) and still has the same; else it has failed.
    """

    def __init__(self, connect: Connect, retry: Retry) -> None:
        self._connect, self._retry, self._at = connect, retry, 0
        self._response = connect({})
        self.headers = self._response.headers
        """Fields of the first answer, names in lower case."""
        self._version = _version(self._response)

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, b"" at the end. Raises Unreachable, RegistryError."""
        if size < 0:
            return b"".join(iter(lambda: self.read(BLOCK), b""))
        while True:
            try:
                data = self._response.read(size)
            except Transient as failure:
                self._resume(failure)
                continue
            self._at += len(data)
            self._retry.progress(len(data))
            return data

    def _resume(self, failure: Transient) -> None:
        if not self._version:
            raise failure.error from None
        self._retry.again(failure)
        self._response.close()
        self._response = self._connect({"Range": format_range(self._at, None), "If-Range": self._version})
        if self._response.status != 206:
            raise failure.error from None
        span, _total = parse_content_range(self._response.headers.get("content-range", ""))
        if span is None or span.start != self._at:
            raise failure.error from None

    def close(self) -> None:
        """Close the response. Idempotent."""
        self._response.close()


def _version(response: Response) -> str:
    """What names the bytes that are coming, "" if nothing does: a weak tag names more than these."""
    tag = response.headers.get("etag", "")
    return response.headers.get("last-modified", "") if tag.startswith("W/") or not tag else tag


class BlobReader:
    """A blob of `size` bytes from `start` on, up to `end` (-1: all). For one thread at a time; close it.

    With an `end` the far side must take ranges: a whole answer is refused.
    """

    def __init__(
        self, connect: Connect, what: str, size: int, start: int, retry: Retry, *, end: int = -1
    ) -> None:
        self._connect, self._what, self._size, self._retry = connect, what, size, retry
        self.size = size
        self.at, self._end_at, self._part = start, size if end < 0 else end, end >= 0
        self._response: Response | None = None

    @property
    def takes_ranges(self) -> bool:
        """Did the far side say, or show, that parts of the blob can be had?"""
        response = self._response
        if response is None:
            return False
        return response.status == 206 or response.headers.get("accept-ranges", "").lower() == "bytes"

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, b"" at the end. Raises RegistryError, TooLarge; resumes by itself."""
        if size < 0:
            return b"".join(iter(lambda: self.read(BLOCK), b""))
        while size and self.at < self._end_at:
            try:
                return self._some(min(size, self._end_at - self.at))
            except Transient as failure:
                self.close()
                self._retry.again(failure)
        return b""

    def open(self) -> None:
        """Connect now, so that a missing blob is reported before anything is read."""
        while self._response is None and self.at < self._end_at:
            try:
                self._response = self._request()
            except Transient as failure:
                self._retry.again(failure)

    def close(self) -> None:
        """Close the response. Idempotent."""
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def _some(self, size: int) -> bytes:
        if self._response is None:
            self._response = self._request()
        data = self._response.read(size)
        if not data:
            raise Transient(Unreachable(f"{self._what} ended after {self.at} of {self._size} bytes"))
        self.at += len(data)
        self._retry.progress(len(data))
        if self.at == self._end_at:
            self._end(self._response)
        return data

    def _end(self, response: Response) -> None:
        """Nothing may follow; where the length was announced it has been checked already."""
        if response.length is None and self._more(response):
            raise TooLarge(f"{self._what} is longer than the {self._size} bytes announced")
        self.close()

    @staticmethod
    def _more(response: Response) -> bool:
        try:
            return bool(response.read(1))
        except Transient:
            return False

    def _request(self) -> Response:
        last = self._end_at - 1 if self._part else None
        whole = not self.at and last is None
        response = self._connect({} if whole else {"Range": format_range(self.at, last)})
        try:
            self._place(response)
        except BaseException:
            response.close()
            raise
        return response

    def _place(self, response: Response) -> None:
        """Check that what will come is what was asked for, and pass over what is known."""
        if response.status == 206:
            self._check_range(response)
            return
        if self._part:
            raise RegistryError(f"{self._what}: the registry does not support ranges", status=response.status)
        self._check_length(response, self._size)
        left = self.at
        while left:
            data = response.read(min(BLOCK, left))
            if not data:
                raise Transient(Unreachable(f"{self._what} ended before byte {self.at}"))
            left -= len(data)

    def _check_range(self, response: Response) -> None:
        span, total = parse_content_range(response.headers.get("content-range", ""))
        fits = total in (None, self._size) and span is not None and span.last < self._end_at
        if span is None or span.start != self.at or not fits:
            raise RegistryError(
                f"{self._what}: asked for bytes from {self.at} of {self._size}, "
                f"got {response.headers.get('content-range', '')[:100]!r}",
                status=206,
            )
        self._check_length(response, span.length)

    def _check_length(self, response: Response, expected: int) -> None:
        length = response.length
        if length is not None and length > expected:
            raise TooLarge(f"{self._what} has {length} bytes, but {expected} were announced")
        if length is not None and length < expected:
            raise RegistryError(f"{self._what} has {length} bytes, but {expected} were announced")
