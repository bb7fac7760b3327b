"""Who the user is at which registry, as docker and podman keep it.

    config.json = { "auths": { KEY: { "auth": base64("user:password"),
                                      "identitytoken": …, "registrytoken": … } },
                    "credsStore": NAME, "credHelpers": { KEY: NAME } }
    KEY         = registry | registry "/" path | any URL of the registry
                  docker.io is called https://index.docker.io/v1/

A helper is the program `docker-credential-NAME`, spoken to over stdin and stdout (docker's
credential-helper protocol). Reading never fails a pull: what goes wrong becomes `Credentials.problem`
and is shown only when the registry then refuses. Podman's auth.json is the same file elsewhere, with
paths in its keys.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from ...grammars.wire.auth import Credentials
from ...ground.jsonfile import read_object
from ...words.errors import NacreError, StoreError
from ...words.reference import DEFAULT_REGISTRY

HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = ("index.docker.io", "registry-1.docker.io", "docker.io")
_MAX_ANSWER = 1024 * 1024
_HELPER_SECONDS = 30.0
TOKEN_USER = "<token>"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class DockerConfig:
    """A config file at `path`, which need not exist. `lookup` is a `Lookup` for `ClientConfig`.

    `environment` is that of the helpers (their PATH decides which are found), None for one's own.
    """

    def __init__(self, path: str, *, environment: Mapping[str, str] | None = None) -> None:
        self.path, self._environment = path, environment
        self._fields: dict[str, Any] | None = None
        self._problem = ""

    def lookup(self, name: str) -> Credentials | None:
        """What is known for `registry[/repository]`: the longest matching key wins. Never raises."""
        problem = None
        for key in _candidates(name):
            found = self._of(key)
            if found:
                return found
            problem = found if problem is None else problem
        if problem is None and self._problem:
            return Credentials(problem=self._problem)
        return problem

    def store(self, registry: str, credentials: Credentials) -> str:
        """Keep credentials; the name of the helper that took them, "" if they went into the file.

        The file is replaced atomically, mode 0600; everything else in it stays. Raises StoreError.
        """
        key = _key(registry)
        helper = self._helper(key)
        if helper:
            self._run(helper, "store", json.dumps(_to_helper(key, credentials)))
            return helper
        with self._change() as fields:
            _section(fields, "auths", create=True)[key] = _to_entry(credentials)
        return ""

    def erase(self, registry: str) -> bool:
        """Forget credentials; False if there were none. Raises StoreError."""
        helper = self._helper(_key(registry))
        if helper:
            self._run(helper, "erase", _key(registry))
        keys = [key for key in self._section("auths") if _same(key, registry)]
        if not keys:
            return bool(helper)
        with self._change() as fields:
            for key in keys:
                del _section(fields, "auths")[key]
        return True

    def _of(self, key: str) -> Credentials | None:
        helper = self._helper(key)
        found = self._ask(helper, key) if helper else None
        if found:
            return found
        for name, entry in self._named(key):
            try:
                kept = _from_entry(entry)
            except ValueError as error:
                found = Credentials(problem=f"the entry for {name[:100]!r} in {self.path} {error}")
                continue
            if kept:
                return kept
        return found

    def _named(self, key: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The entries that mean a key, the one of exactly this name first."""
        entries = self._section("auths").items()
        found = [(name, entry) for name, entry in entries if isinstance(entry, dict) and _same(name, key)]
        return sorted(found, key=lambda pair: pair[0] != key)

    def _helper(self, key: str) -> str:
        """The helper for a key, "" if none; `credsStore` is asked for whole registries only."""
        for name, helper in self._section("credHelpers").items():
            if _same(name, key) and isinstance(helper, str):
                return helper
        default = self._load().get("credsStore")
        return default if isinstance(default, str) and (key == HUB_KEY or "/" not in key) else ""

    def _ask(self, helper: str, key: str) -> Credentials | None:
        """What a helper says; None if it knows nobody, false with a problem if it cannot be asked."""
        try:
            return _from_helper(self._run(helper, "get", key))
        except NacreError as error:
            return Credentials(problem=error.message)

    def _run(self, helper: str, verb: str, text: str) -> bytes:
        """The output of a helper, b"" if it answers that there is nothing. Raises StoreError."""
        if not helper or not _NAME.issuperset(helper):
            raise StoreError(f"{self.path} names an invalid credential helper: {helper[:100]!r}")
        program = f"docker-credential-{helper}"
        try:
            done = subprocess.run(
                [program, verb], input=text.encode(), capture_output=True, check=False,
                timeout=_HELPER_SECONDS, env=self._environment,
            )  # fmt: skip
        except FileNotFoundError:
            raise StoreError(f"the credential helper {program} of {self.path} is not installed") from None
        except (OSError, subprocess.SubprocessError) as error:
            raise StoreError(f"the credential helper {program} failed: {type(error).__name__}") from None
        if done.returncode == 0:
            return done.stdout[:_MAX_ANSWER]
        if b"not found" in done.stdout.lower():
            return b""
        raise StoreError(f"the credential helper {program} failed: {_line(done.stdout or done.stderr)}")

    def _section(self, name: str) -> Mapping[str, Any]:
        return _section(self._load(), name)

    def _load(self) -> dict[str, Any]:
        if self._fields is None:
            try:
                self._fields = read_object(self.path)
            except StoreError as error:
                self._fields, self._problem = {}, error.message
        return self._fields

    @contextlib.contextmanager
    def _change(self) -> Iterator[dict[str, Any]]:
        """The fields as they are on disk now; written back when the block ends well."""
        fields = read_object(self.path)
        yield fields
        self._write(json.dumps(fields, indent="\t").encode() + b"\n")
        self._fields = fields

    def _write(self, data: bytes) -> None:
        target = os.path.realpath(self.path)
        try:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            _replace(target, data)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from None


def _replace(target: str, data: bytes) -> None:
    """Write a file of mode 0600 at once or not at all."""
    descriptor, name = tempfile.mkstemp(dir=os.path.dirname(target))
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _candidates(name: str) -> Iterator[str]:
    """Keys to look for, the longest first: `host/a/b`, `host/a`, and the key of the registry itself."""
    registry, _, path = name.partition("/")
    while path:
        yield f"{registry}/{path}"
        path = path.rpartition("/")[0]
    yield _key(registry)


def _key(registry: str) -> str:
    return HUB_KEY if registry == DEFAULT_REGISTRY else registry


def _same(key: str, wanted: str) -> bool:
    """Does a key of the file mean `wanted`? Old versions wrote URLs with a path of the API."""
    known = wanted if "/" in wanted and wanted != HUB_KEY else _plain(wanted)
    return key == wanted or _plain(key) == known


def _plain(key: str) -> str:
    """The registry that a key means, or the key with the path of a repository.

    Of a URL the host counts alone; `host/v1/` and `host/v2/` are such URLs without their scheme.
    """
    scheme, slashes, rest = key.partition("://")
    if slashes and scheme.lower() in ("http", "https"):
        text = rest.partition("/")[0]
    else:
        text = key.rstrip("/")
        text = text.removesuffix("/v1").removesuffix("/v2")
    return DEFAULT_REGISTRY if text in _HUB_HOSTS else text


def _section(fields: dict[str, Any], name: str, *, create: bool = False) -> dict[str, Any]:
    found = fields.get(name)
    if isinstance(found, dict):
        return found
    if create:
        fields[name] = found = {}
        return found
    return {}


def _from_entry(entry: Mapping[str, Any]) -> Credentials | None:
    """Raises ValueError for an `auth` that cannot be read."""
    identity, registry = _text(entry, "identitytoken"), _text(entry, "registrytoken")
    username, password = _text(entry, "username"), _text(entry, "password")
    if _text(entry, "auth"):
        username, password = _decoded(_text(entry, "auth"))
    if not (username or identity or registry):
        return None
    return Credentials(username, password.rstrip("\0"), identity, registry)


def _decoded(auth: str) -> tuple[str, str]:
    """User and password; line breaks and blanks count for nothing, padding may be absent, as tools write it.

    Raises ValueError, with what is wrong.
    """
    packed = "".join(auth.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        pair = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except ValueError:
        raise ValueError("has an auth that is not base64") from None
    username, colon, password = pair.decode("utf-8", "surrogateescape").partition(":")
    if not colon:
        raise ValueError("has an auth without a colon between user and password")
    return username, password


def _from_helper(answer: bytes) -> Credentials | None:
    if not answer.strip():
        return None
    try:
        fields = json.loads(answer)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise StoreError("a credential helper sent an answer that is not JSON")
    username, secret = _text(fields, "Username"), _text(fields, "Secret")
    if username == TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(username, secret) if username else None


def _to_entry(credentials: Credentials) -> dict[str, str]:
    pair = f"{credentials.username}:{credentials.password}".encode("utf-8", "surrogateescape")
    entry = {"auth": base64.b64encode(pair).decode()}
    return entry | ({"identitytoken": credentials.identity_token} if credentials.identity_token else {})


def _to_helper(key: str, credentials: Credentials) -> dict[str, str]:
    if credentials.identity_token:
        return {"ServerURL": key, "Username": TOKEN_USER, "Secret": credentials.identity_token}
    return {"ServerURL": key, "Username": credentials.username, "Secret": credentials.password}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _line(output: bytes) -> str:
    text = output[:300].decode(errors="replace").strip()
    return "".join(char if char.isprintable() else " " for char in text)
