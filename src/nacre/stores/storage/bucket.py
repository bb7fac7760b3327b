"""One bucket of an object store, or a folder in one: its requests, and its failures as ours.

A request is tried again up to four times within 20 seconds when the store does not answer, is busy (503
SlowDown) or breaks off; then it is `Unavailable`, and the client asks again later. A time-out is between two
reads, not of the whole: a client may take its time with a large blob.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ...words.errors import NotFound, StoreError, Unavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...words.rules import StorageRules

PART = 8 << 20
"""Bytes that are sent at once, and kept in memory until they are there."""
_AT_ONCE = 2
_MOST_PARTS = 9000
_RETRIES = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
}
_CLIENT = {"connect_timeout": "5s", "read_timeout": "20s", "timeout": "7d", "pool_idle_timeout": "30s"}
_TEXT = 300
_MACHINE = "169.254.169.254"
"""Where the machines of a cloud give credentials: asked when there are none."""


class Bucket:
    """What `rules` name. Safe for threads. Raises UsageError, and Unsupported without obstore."""

    def __init__(self, rules: StorageRules) -> None:
        self._obstore = _obstore()
        self.url, self._expires = rules.url, timedelta(seconds=rules.expires)
        self._store = _open(rules)

    def get(self, key: str) -> bytes:
        """A small object. Raises NotFound."""
        with failures(key):
            return bytes(self._obstore.get(self._store, key).bytes())

    def put(self, key: str, data: bytes | bytearray) -> str:
        """Write an object in one request; what the store calls its state. Idempotent."""
        with failures(key):
            return _tag(self._obstore.put(self._store, key, bytes(data), use_multipart=False))

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; False if there is."""
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        with failures(key):
            try:
                self._obstore.put(self._store, key, data, use_multipart=False, mode="create")
            except (AlreadyExistsError, PreconditionError):
                return False
            except NotSupportedError:
                self._obstore.put(self._store, key, data, use_multipart=False)
        return True

    def writer(self, key: str, size: int = 0) -> Any:
        """A file to write an object of about `size` bytes to, in parts; it is there when that is closed."""
        part = max(PART, -(-size // _MOST_PARTS))
        with failures(key):
            return self._obstore.open_writer(self._store, key, buffer_size=part, max_concurrency=_AT_ONCE)

    def state(self, key: str) -> tuple[int, str]:
        """Size and state of an object. Raises NotFound."""
        with failures(key):
            found = self._obstore.head(self._store, key)
        return int(found["size"]), _tag(found)

    def stream(self, key: str, start: int, length: int, tag: str) -> tuple[int, Iterator[bytes]]:
        """The size of the whole object, and bytes of it while it is in that state. Raises NotFound."""
        options: dict[str, Any] = {"range": (start, start + length)}
        if tag:
            options["if_match"] = tag
        with failures(key):
            found = self._obstore.get(self._store, key, options=options)
            return int(found.meta["size"]), iter(found.stream(min_chunk_size=1 << 20))

    def names(self, under: str) -> Iterator[list[tuple[str, float]]]:
        """Keys below `under`, each with the time of its last change, some hundred at a time."""
        with failures(under):
            for some in self._obstore.list(self._store, prefix=under, chunk_size=500):
                yield [(found["path"], found["last_modified"].timestamp()) for found in some]

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are gone do not matter. Idempotent."""
        with failures("objects"):
            try:
                self._obstore.delete(self._store, list(keys))
            except FileNotFoundError:
                for key in keys:
                    self._remove_one(key)

    def _remove_one(self, key: str) -> None:
        try:
            self._obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def link(self, key: str) -> str:
        """A URL under which everybody can read it until it expires."""
        with failures(key):
            return str(self._obstore.sign(self._store, "GET", key, self._expires))


@contextmanager
def failures(key: str) -> Iterator[None]:
    """What goes wrong with an object as an error of ours."""
    from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

    try:
        yield
    except (FileNotFoundError, PreconditionError):
        raise NotFound(f"the object {key} is not in the bucket, or was changed there") from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise Unavailable(f"object storage refuses our credentials: {_line(error)}") from error
    except BaseError as error:
        if _MACHINE in str(error):
            hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, say"
            raise Unavailable("there are no credentials for object storage", hint=hint) from error
        raise Unavailable(f"object storage: {_line(error)}") from error
    except (OSError, ValueError) as error:
        raise Unavailable(f"object storage: {_line(error)}") from error


def _line(error: Exception) -> str:
    """The first line without the XML that the store sent along."""
    text = str(error).partition("\n")[0].partition(": <")[0]
    return text[:_TEXT]


def _tag(found: Any) -> str:
    """Of an object; "" for a weak one, which no condition can name (RFC 9110, 13.1.1)."""
    tag = str(found.get("e_tag") or "")
    return "" if tag.startswith("W/") else tag


def _obstore() -> Any:
    try:
        import obstore
    except ImportError:
        from ...words.errors import Unsupported

        raise Unsupported("object storage needs obstore", hint="pip install nacre-oci[registry]") from None
    return obstore


def _open(rules: StorageRules) -> Any:
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store

    kinds: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    scheme = rules.url.partition("://")[0]
    client = dict(_CLIENT, allow_http=True)  # where the endpoint says so, and nowhere else
    if rules.certificates:
        client["root_certificate"] = _read(rules.certificates)
    try:
        return kinds[scheme].from_url(
            rules.url, config=_settings(rules), client_options=client, retry_config=_RETRIES
        )
    except (BaseError, ValueError) as error:
        raise UsageError(f"storage {rules.url}: {_line(error)}") from None


def _settings(rules: StorageRules) -> dict[str, str]:
    """As obstore names them; the environment's hold besides."""
    where = "base_url" if rules.url.startswith("gs:") else "endpoint"
    named = {where: rules.endpoint} if rules.endpoint else {}
    named |= {"region": rules.region} if rules.region else {}
    named |= {"virtual_hosted_style_request": "true"} if rules.virtual_hosts else {}
    named |= {"access_key_id": rules.access_key} if rules.access_key else {}
    named |= {"secret_access_key": rules.secret_key} if rules.secret_key else {}
    return named | {name: value for name, _, value in (each.partition("=") for each in rules.options)}


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
