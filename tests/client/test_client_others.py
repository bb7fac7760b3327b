"""What other registries answer: not wrong, but not as usual. And servers that are no registry."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract import descriptor, image, put
from fakeregistry import Exchange, FakeRegistry, digest_of
from test_client_requests import add_image, of

from nacre.images.arrows.pull import pull
from nacre.services.client import Client, Repository, TransportLimits
from nacre.stores.store import Store
from nacre.words.errors import NacreError, NotFound, RegistryError, Unauthorized
from nacre.words.oci import OCI_MANIFEST, Descriptor
from nacre.words.reference import Reference

Connect = Callable[..., Client]
BIG = b"z" * 5_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture
def repository(fake: FakeRegistry, connect: Connect) -> Repository:
    return connect(limits=TransportLimits()).repository(Reference.parse(f"{fake.host}/app"))


def signed(x: Exchange) -> bool:
    """A redirect to where only GET is allowed, as presigned links are."""
    return x.reply(307, location=f"/storage{x.url.path}?signature=x")


def no_heads(fake: FakeRegistry, how: str) -> None:
    if how == "signed":
        fake.on("HEAD", "/v2/app/", signed, times=1000)
        fake.on("HEAD", "/storage/", lambda x: x.reply(403), times=1000)
    elif how == "html":
        fake.on("HEAD", "/v2/app/", lambda x: x.reply(200, content_type="text/html"), times=1000)
    elif how == "cut":
        fake.on("HEAD", "/v2/app/", Exchange.cut, times=1000)
    else:
        fake.on("HEAD", "/v2/app/", lambda x: x.reply(int(how)), times=1000)


@pytest.mark.parametrize("how", ["405", "404", "403", "400", "401", "500", "501", "signed", "html", "cut"])
def test_a_pull_where_head_fails(fake: FakeRegistry, connect: Connect, store: Store, how: str) -> None:
    """A name that is known is asked for with HEAD first: then GET decides."""
    add_image(fake, "1")
    source = connect(limits=TransportLimits()).repository(of(fake))
    pull(source, of(fake), store)
    no_heads(fake, how)
    assert not pull(source, of(fake), store).changed
    add_image(fake, "1", count=1)
    assert pull(source, of(fake), store).changed
    assert source.head(of(fake)) == source.resolve(of(fake))[0]


def test_a_pull_waits_where_the_registry_asks_to(
    fake: FakeRegistry, connect: Connect, store: Store, pauses: list[float]
) -> None:
    """A GET counts where a HEAD does not: too many requests are no reason for it."""
    add_image(fake, "1")
    source = connect(limits=TransportLimits()).repository(of(fake))
    pull(source, of(fake), store)
    fake.requests.clear()
    fake.on("HEAD", "/manifests/", lambda x: x.reply(429, retry_after="7"))
    pull(source, of(fake), store)
    assert pauses == [7.0]
    assert [verb for verb, path, _ in fake.requests if "manifests" in path] == ["HEAD", "HEAD"]


@pytest.mark.parametrize("how", ["405", "403", "401", "signed"])
def test_a_push_where_head_fails(fake: FakeRegistry, repository: Repository, how: str) -> None:
    data = image(repository, b"layer")
    repository.put_manifest("1", data, OCI_MANIFEST)
    no_heads(fake, how)
    assert repository.has(descriptor(b"layer"))
    assert repository.holds("1", Descriptor.of(data, OCI_MANIFEST))
    if how != "signed":
        assert not repository.has(descriptor(b"other"))


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204])
def test_any_success_ends_a_write(fake: FakeRegistry, repository: Repository, status: int) -> None:
    def other(x: Exchange) -> bool:
        """The same answer with another number."""

        def reply(_status: int, body: bytes = b"", **fields: str) -> bool:
            del x.reply  # the connection serves more requests
            return x.reply(status, body, **fields)

        x.reply = reply  # type: ignore[method-assign]
        return False

    for verb in ("PUT", "PATCH", "DELETE"):
        fake.on(verb, "/v2/", other, times=1000)
    for data in (b"small", BIG):
        put(repository, data)
        assert fake.blobs["app", digest_of(data)] == data
    data = image(repository, b"layer")
    repository.put_manifest("1", data, OCI_MANIFEST)
    assert fake.manifests["app", "1"] == (OCI_MANIFEST, data)
    repository.delete("1")
    assert ("app", "1") not in fake.manifests


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_blob_taken_at_once(fake: FakeRegistry, repository: Repository, status: int) -> None:
    """A POST that ends the upload names the blob."""

    def take(x: Exchange) -> bool:
        fake.add_blob("app", x.body())
        return x.reply(status, location=f"/v2/app/blobs/{x.query['digest']}")

    fake.on("POST", "/uploads/", take)
    put(repository, b"tiny")
    assert fake.sent("PUT") == []


def test_a_success_that_is_none(fake: FakeRegistry, repository: Repository) -> None:
    """Whoever says 200 to everything has not got what it was given."""
    fake.on("PUT", "/uploads/", lambda x: bool(x.body()) and x.reply(200))
    with pytest.raises(RegistryError, match="does not have it"):
        put(repository, b"x" * 70_000)


# No registry at all


def plain(x: Exchange) -> bool:
    """A web server with files, none of which is asked for."""
    x.body()
    return x.reply(
        404 if x.command in ("GET", "HEAD") else 501, b"<h1>Not here</h1>", content_type="text/html"
    )


def page(x: Exchange) -> bool:
    """An application or a portal that shows its page whatever is asked for."""
    x.body()
    return x.reply(200, b"<!DOCTYPE html><html></html>", content_type="text/html; charset=utf-8")


@pytest.mark.parametrize("server", [plain, page])
@pytest.mark.parametrize("verb", ["pull", "tags", "has", "put", "manifest", "login", "catalog"])
def test_a_web_server(
    fake: FakeRegistry, connect: Connect, server: Callable[[Exchange], bool], verb: str
) -> None:
    client = connect(limits=TransportLimits())
    reference = Reference.parse(f"{fake.host}/app:1")
    repository = client.repository(reference)
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH"):
        fake.on(method, "/", server, times=1000)
    actions: dict[str, Callable[[], object]] = {
        "pull": lambda: repository.resolve(reference),
        "tags": lambda: list(repository.tags()),
        "has": lambda: repository.has(descriptor(b"x")),
        "put": lambda: repository.put(descriptor(b"x"), lambda: io.BytesIO(b"x")),
        "manifest": lambda: repository.put_manifest("1", b"{}", OCI_MANIFEST),
        "login": lambda: client.check(fake.host),
        "catalog": lambda: list(client.catalog(fake.host)),
    }
    if (verb, server) == ("has", plain):
        assert not repository.has(descriptor(b"x"))  # the upload that follows tells
        return
    with pytest.raises(RegistryError) as caught:
        actions[verb]()
    if (verb, server) != ("manifest", plain):
        assert caught.value.message.startswith(f"{fake.host} does not answer as a registry")
        assert "host and the port" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, NotFound), (403, NotFound), (503, NotFound), (200, NotFound), (404, RegistryError)],
)  # fmt: skip
def test_what_tells_a_registry(
    fake: FakeRegistry, connect: Connect, status: int, error: type[NacreError]
) -> None:
    fake.on("GET", "/v2/app", lambda x: x.reply(404))
    fake.on("GET", "/v2/", lambda x: x.reply(status), times=9)
    reference = Reference.parse(f"{fake.host}/app:1")
    with pytest.raises(error):
        connect().repository(reference).resolve(reference)


def test_a_registry_that_refuses_strangers(fake: FakeRegistry, repository: Repository) -> None:
    for verb in ("GET", "HEAD"):
        fake.on(verb, "/v2/app/", lambda x: x.reply(401, b"<html>", content_type="text/html"), times=9)
    with pytest.raises(Unauthorized):
        repository.resolve(Reference.parse(f"{fake.host}/app:1"))
