"""A registry that fetches from others: what its clients get, what those are asked, and who may not lie."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakeregistry import Exchange, FakeRegistry

from nacre.engine.upstreams import upstreams_of
from nacre.engine.wiring import Config, Wiring
from nacre.services.server import RunningServer
from nacre.services.server.upstreams.flights import Joined
from nacre.services.server.upstreams.health import UpstreamHealth
from nacre.services.server.upstreams.lists import CachedLists
from nacre.services.server.upstreams.manifests import CachedManifests
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST
from nacre.words.upstreams import UpstreamRules

CLIENTS = 20


class Cache:
    """A registry before one upstream that is called `docker.io`."""

    def __init__(self, root: Path, fake: FakeRegistry, **rules: Any) -> None:
        said = UpstreamRules("docker.io", f"http://{fake.host}", **rules)
        self.rules, self.fake, self.log = said, fake, list[str]()
        upstreams = upstreams_of((said,), Wiring(Config(str(root / "store"))))
        self.running = RunningServer(str(root / "registry"), log=self.log.append, upstreams=upstreams)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    made = FakeRegistry()
    yield made
    made.close()


@pytest.fixture
def cached(tmp_path: Path, fake: FakeRegistry, api_of: Any) -> Iterator[Callable[..., Any]]:
    """Begins a registry with rules for its upstream, and gives what speaks to it."""
    with ExitStack() as opened:

        def begin(**rules: Any) -> Any:
            cache = Cache(tmp_path, fake, **rules)
            opened.enter_context(cache.running)
            api = api_of(cache.running.url)
            api.cache, api.end = cache, opened.close
            return api

        yield begin


@pytest.fixture
def image(fake: FakeRegistry, make: SimpleNamespace) -> SimpleNamespace:
    """One that the upstream has."""
    return add_image(fake, make, "library/app", "1", b"x" * 300_000)


def add_image(
    fake: FakeRegistry, make: SimpleNamespace, name: str, tag: str, content: bytes
) -> SimpleNamespace:
    import json

    layer, config = content, make.config(content[:10])
    data = json.dumps(make.manifest(config, [layer])).encode()
    for blob in (layer, config):
        fake.add_blob(name, blob)
    digest = fake.add_manifest(name, tag, data, OCI_MANIFEST)
    return SimpleNamespace(digest=digest, data=data, layer=layer, config=config)


def asked(fake: FakeRegistry, part: str) -> list[str]:
    return [method for method, path, _ in fake.requests if part in path]


WAYS = {
    "explicit": ("docker.io/library/app/", ""),
    "short": ("docker.io/app/", ""),
    "containerd": ("library/app/", "?ns=docker.io"),
    "containerd below a prefix": ("docker.io/library/app/", "?ns=docker.io"),
    "docker": ("library/app/", ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_client_finds_the_same_image(
    way: str, cached: Any, fake: FakeRegistry, image: SimpleNamespace, make: SimpleNamespace
) -> None:
    api, (path, query) = cached(unprefixed=True), WAYS[way]
    answer = api("GET", f"{path}manifests/1{query}")
    assert (answer.status, answer.body) == (200, image.data)
    assert answer.headers["Docker-Content-Digest"] == image.digest
    blob = api("GET", f"{path}blobs/{make.digest(image.layer)}{query}")
    assert (blob.status, blob.body) == (200, image.layer)
    assert api("GET", f"docker.io/library/app/blobs/{make.digest(image.layer)}").body == image.layer
    assert len(asked(fake, make.digest(image.layer))) == 1
    assert api("GET", "_catalog").json == {"repositories": ["docker.io/library/app"]}


def test_what_was_pushed_is_never_taken_from_upstream(cached: Any, fake: FakeRegistry, make: Any) -> None:
    """Nobody slips in an image under a first part that is in use here."""
    api = cached(unprefixed=True)
    add_image(fake, make, "team/tool", "1", b"theirs")
    api.push_image("team/app", "1")
    assert api("GET", "team/tool/manifests/1").status == 404
    assert api("GET", "team/app/manifests/1").status == 200
    assert api("GET", "other/app/manifests/1?ns=ghcr.io").status == 404
    assert not asked(fake, "team")
    assert not asked(fake, "other")


@pytest.mark.parametrize("target", ["docker.io/library/app", "docker.io/mine"])
def test_nobody_pushes_into_a_copy(target: str, cached: Any) -> None:
    api = cached()
    answer = api("POST", f"{target}/blobs/uploads/")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert "is a copy of docker.io/library/" in answer.json["errors"][0]["message"]
    assert api("POST", "library/app/blobs/uploads/?ns=docker.io").status == 405
    assert api("PUT", "docker.io/manifests/1", b"{}").status == 404


def test_many_clients_cost_one_fetch_and_get_bytes_as_they_come(
    cached: Any, fake: FakeRegistry, make: SimpleNamespace
) -> None:
    image = add_image(fake, make, "library/app", "1", bytes(range(256)) * 8192)
    api, half, go_on = cached(), threading.Event(), threading.Event()

    def slowly(x: Exchange) -> bool:
        x.send_response(200)
        x.send_header("content-length", str(len(image.layer)))
        x.end_headers()
        x.wfile.write(image.layer[: len(image.layer) // 2])
        half.set()
        assert go_on.wait(60)
        x.wfile.write(image.layer[len(image.layer) // 2 :])
        return True

    digest = make.digest(image.layer)
    fake.on("GET", digest, slowly)
    firsts = threading.Semaphore(0)

    def pull(_number: int) -> bytes:
        with opened(api, f"docker.io/library/app/blobs/{digest}") as response:
            first = response.read(100_000)
            firsts.release()
            return first + response.read()

    with ThreadPoolExecutor(CLIENTS) as pool:
        tags = pool.map(lambda _: api("GET", "docker.io/library/app/manifests/1").body, range(CLIENTS))
        assert set(tags) == {image.data}
        pulls = pool.map(pull, range(CLIENTS))
        assert all(firsts.acquire(timeout=60) for _ in range(CLIENTS)), "nobody waits for the end"
        go_on.set()
        assert set(pulls) == {image.layer}
    assert asked(fake, digest) == ["GET"]
    assert asked(fake, "manifests") == ["GET"]
    assert api("GET", f"docker.io/library/app/blobs/{digest}", Range="bytes=5-9").body == image.layer[5:10]


def test_whoever_comes_as_the_first_fetch_ends_asks_no_more() -> None:
    """A client at each turn of the loop: none finds the copy before its tag is believed."""
    here, fetched = list[object](), list[str]()
    place: Any = SimpleNamespace(
        name="docker.io/a", upstream=SimpleNamespace(rules=UpstreamRules("docker.io", ""))
    )

    async def run(_place: object, _fetch: object, *_args: object) -> None:
        fetched.append("1")
        await asyncio.sleep(0)
        here.append("manifest")

    async def ask(_find: object, *_args: object) -> object:
        return here[0] if here else None

    state: Any = SimpleNamespace(catalog=SimpleNamespace(manifest=None), work=SimpleNamespace(ask=ask))
    fetcher: Any = SimpleNamespace(by_tag=None)
    pools: Any = SimpleNamespace(run=run)

    async def clients() -> None:
        manifests = CachedManifests(state, fetcher, pools, UpstreamHealth(), Joined(), print)
        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(manifests.ready(None, place, "1"))  # type: ignore[arg-type]
                await asyncio.sleep(0)

    asyncio.run(clients())
    assert fetched == ["1"]


def test_whoever_comes_as_the_first_list_ends_asks_no_more() -> None:
    """A client after the end of the fetch, and before those who waited for it are woken."""
    fetched, upstream = list[str](), SimpleNamespace(rules=UpstreamRules("docker.io", ""), referrers=None)
    place: Any = SimpleNamespace(name="docker.io/a", repository="a", upstream=upstream)
    request: Any = SimpleNamespace(query_params={})
    route: Any = SimpleNamespace(digest="sha256:0")
    state: Any = SimpleNamespace(catalog=None, work=None)

    async def clients() -> None:
        def come() -> None:
            group.create_task(lists.referrers(request, route, place))

        async def run(_place: object, _find: object) -> list[object]:
            fetched.append("list")
            asyncio.get_running_loop().call_soon(come)  # whose first step is after the next turn
            return []

        pools: Any = SimpleNamespace(run=run)
        lists = CachedLists(state, pools, UpstreamHealth(), Joined())
        async with asyncio.TaskGroup() as group:
            come()

    asyncio.run(clients())
    assert fetched == ["list"]


class opened:
    """An answer that is read piece by piece."""

    def __init__(self, api: Any, path: str, **headers: str) -> None:
        import http.client

        self._connection = http.client.HTTPConnection(api.address, timeout=60)
        self._connection.request("GET", f"/v2/{path}", headers=headers)

    def __enter__(self) -> Any:
        return self._connection.getresponse()

    def __exit__(self, *_exc: object) -> None:
        self._connection.close()


def test_whoever_asks_a_server_as_a_fetch_ends_fetches_no_more(
    cached: Any, fake: FakeRegistry, image: SimpleNamespace, make: SimpleNamespace
) -> None:
    """What it said was right when it was asked, and no more when the answer came."""
    api, digest, ended = cached(), make.digest(image.layer), threading.Event()
    path = f"docker.io/library/app/blobs/{digest}"
    state, said = api.cache.running.registry.state, list[object]()
    ask, late = state.work.ask, threading.Event()

    async def slow(function: Any, *args: Any) -> Any:
        answer = await ask(function, *args)
        if function == state.catalog.blob and digest in args:
            said.append(answer)
            if len(said) == 2:  # the last look before a fetch
                late.set()
                assert await asyncio.to_thread(ended.wait, 60)
        return answer

    state.work.ask = slow
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api, "GET", path)
        assert late.wait(60)
        try:
            for _ in range(3):  # the fetch is over with the first, and forgotten by the last
                assert api("GET", path).body == image.layer
        finally:
            ended.set()
        assert first.result().body == image.layer
    assert said[:2] == [None, None]
    assert asked(fake, digest) == ["GET"]


def test_a_client_that_goes_does_not_end_the_fetch(
    cached: Any, fake: FakeRegistry, make: SimpleNamespace
) -> None:
    image = add_image(fake, make, "library/app", "1", bytes(range(256)) * 4096)
    api, go_on, digest = cached(), threading.Event(), make.digest(image.layer)

    def slowly(x: Exchange) -> bool:
        x.send_response(200)
        x.send_header("content-length", str(len(image.layer)))
        x.end_headers()
        x.wfile.write(image.layer[:500_000])
        assert go_on.wait(60)
        x.wfile.write(image.layer[500_000:])
        return True

    fake.on("GET", digest, slowly)
    with opened(api, f"docker.io/library/app/blobs/{digest}") as response:
        assert response.read(1000)
    go_on.set()
    assert api("GET", f"docker.io/library/app/blobs/{digest}").body == image.layer
    assert asked(fake, digest) == ["GET"]


# ── tags ──


def test_a_tag_is_believed_for_a_while_then_asked_for_by_head(
    cached: Any, fake: FakeRegistry, image: SimpleNamespace, make: SimpleNamespace
) -> None:
    api = cached(ttl=0.0)
    path = "docker.io/library/app/manifests/1"
    assert [api("GET", path).status for _ in range(2)] == [200, 200]
    assert asked(fake, "manifests/1") == ["GET", "HEAD"]
    newer = add_image(fake, make, "library/app", "1", b"newer")
    assert api("HEAD", path).headers["Docker-Content-Digest"] == newer.digest
    assert api("GET", path).body == newer.data
    assert api("GET", f"docker.io/library/app/manifests/{image.digest}").body == image.data


def test_a_tag_within_its_time_costs_nothing(cached: Any, fake: FakeRegistry, image: SimpleNamespace) -> None:
    api = cached(ttl=3600.0)
    for _ in range(3):
        assert api("GET", "docker.io/library/app/manifests/1").body == image.data
    assert asked(fake, "manifests") == ["GET"]


TROUBLES: dict[str, tuple[Callable[[Exchange], bool], str]] = {
    "down": (lambda x: x.cut(), "docker.io cannot be reached"),
    "broken": (lambda x: x.reply(500), "docker.io answered 500"),
    "limits": (lambda x: x.reply(429, retry_after="77"), "docker.io has received too many requests"),
    "private": (lambda x: x.reply(403), "docker.io does not let this registry read library/app"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_stale_is_served_and_said(
    trouble: str, cached: Any, fake: FakeRegistry, image: SimpleNamespace
) -> None:
    api, (action, why) = cached(ttl=0.0), TROUBLES[trouble]
    assert api("GET", "docker.io/library/app/manifests/1").status == 200
    for method in ("HEAD", "GET"):
        fake.on(method, "manifests/1", action, times=100)
    answer = api("GET", "docker.io/library/app/manifests/1")
    assert (answer.status, answer.body) == (200, image.data)
    assert why in answer.headers["Warning"]
    assert api.cache.log == [f"stale: docker.io/library/app:1 as it was: {why}"]
    count = len(fake.requests)
    assert api("GET", "docker.io/library/app/manifests/1").status == 200
    assert len(fake.requests) == count, "it is left in peace for a while"


def test_a_limit_is_passed_on(cached: Any, fake: FakeRegistry, image: SimpleNamespace) -> None:
    api = cached()
    fake.on("GET", "manifests/1", TROUBLES["limits"][0], times=100)
    first = api("GET", "docker.io/library/app/manifests/1")
    assert (first.status, first.code, first.headers["Retry-After"]) == (429, "TOOMANYREQUESTS", "77")
    second = api("GET", "docker.io/library/app/manifests/2")
    assert (second.status, second.headers["Retry-After"]) == (429, "77")
    assert asked(fake, "manifests") == ["GET"]


def test_absence_is_remembered_for_a_while(cached: Any, fake: FakeRegistry, image: SimpleNamespace) -> None:
    api = cached()
    for _ in range(3):
        answer = api("GET", "docker.io/library/app/manifests/none")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
        assert api("HEAD", f"docker.io/library/app/blobs/sha256:{'a' * 64}").status == 404
    assert asked(fake, "manifests/none") == ["GET"]
    assert len(asked(fake, "aaaa")) <= 2


def test_lists_are_those_of_the_upstream(
    cached: Any, fake: FakeRegistry, image: SimpleNamespace, make: SimpleNamespace
) -> None:
    for tag in ("a", "B", "c"):
        add_image(fake, make, "library/app", tag, b"")
    api = cached()
    answer = api("GET", "docker.io/library/app/tags/list?n=2")
    assert answer.json == {"name": "docker.io/library/app", "tags": ["1", "a"]}
    assert "docker.io/library/app/tags/list" in answer.headers["Link"]
    assert api("GET", "docker.io/library/app/tags/list?last=a").json["tags"] == ["B", "c"]
    assert asked(fake, "tags") == ["GET"]
    fake.add_manifest(
        "library/app",
        image.digest.replace(":", "-"),
        make_index(make, image),
        OCI_INDEX,
    )
    found = api("GET", f"docker.io/library/app/referrers/{image.digest}").json["manifests"]
    assert [entry["digest"] for entry in found] == [image.digest]


def make_index(make: SimpleNamespace, image: SimpleNamespace) -> bytes:
    import json

    return json.dumps(make.index((image.data, OCI_MANIFEST))).encode()


def test_children_come_when_they_are_asked_for(
    cached: Any, fake: FakeRegistry, image: SimpleNamespace, make: SimpleNamespace
) -> None:
    index = make_index(make, image)
    fake.add_manifest("library/app", "all", index, OCI_INDEX)
    api = cached()
    assert api("GET", "docker.io/library/app/manifests/all", Accept=OCI_INDEX).body == index
    assert not asked(fake, image.digest)
    assert api("GET", f"docker.io/library/app/manifests/{image.digest}").body == image.data


# ── rules ──


def test_only_what_is_allowed(cached: Any, fake: FakeRegistry, image: SimpleNamespace) -> None:
    api = cached(allow=("library/*",))
    assert api("GET", "docker.io/library/app/manifests/1").status == 200
    answer = api("GET", "docker.io/evil/app/manifests/1")
    assert (answer.status, answer.code) == (403, "DENIED")
    assert not asked(fake, "evil")


def test_new_content_waits(
    cached: Any, fake: FakeRegistry, image: SimpleNamespace, make: SimpleNamespace
) -> None:
    api = cached(minimum_age=86400.0, ttl=0.0)
    answer = api("GET", "docker.io/library/app/manifests/1")
    assert (answer.status, answer.code) == (403, "DENIED")
    assert "docker.io/library/app:1 is new here" in answer.json["errors"][0]["message"]
    assert api("GET", f"docker.io/library/app/manifests/{image.digest}").status == 200


def test_an_image_may_say_when_it_was_made(cached: Any, fake: FakeRegistry, make: SimpleNamespace) -> None:
    import json

    for tag, created in (("old", "2020-01-01T00:00:00Z"), ("new", "2999-01-01T00:00:00Z")):
        config = json.dumps({"created": created}).encode()
        fake.add_blob("library/app", config)
        fake.add_manifest("library/app", tag, json.dumps(make.manifest(config, [])).encode(), OCI_MANIFEST)
    api = cached(minimum_age=86400.0, trust_created=True)
    assert api("GET", "docker.io/library/app/manifests/old").status == 200
    assert api("GET", "docker.io/library/app/manifests/new").status == 403


# ── hostile upstreams ──


def test_wrong_content_is_broken_off_and_not_kept(
    cached: Any, fake: FakeRegistry, make: SimpleNamespace
) -> None:
    api, wanted = cached(), make.digest(b"right" * 100_000)
    fake.blobs["library/app", wanted] = b"wrong" * 100_000
    with suppress(HTTPException, OSError):
        assert len(api("GET", f"docker.io/library/app/blobs/{wanted}").body) < 500_000
        pytest.fail("all of it came")
    assert api("GET", f"docker.io/library/app/blobs/{wanted}").status == 502
    assert any(wanted[:15] in line for line in api.cache.log)
    small = make.digest(b"right")
    fake.blobs["library/app", small] = b"wrong"
    assert api("GET", f"docker.io/library/app/blobs/{small}").status == 502


def test_wrong_manifests_are_refused(cached: Any, fake: FakeRegistry, image: SimpleNamespace) -> None:
    api = cached()
    lie = f"sha256:{'b' * 64}"
    fake.manifests["library/app", lie] = (OCI_MANIFEST, image.data)
    fake.manifests["library/app", "huge"] = (OCI_MANIFEST, b" " * (5 << 20) + image.data)
    fake.manifests["library/app", "html"] = ("text/html", b"<html>")
    for reference in (lie, "huge", "html"):
        assert api("GET", f"docker.io/library/app/manifests/{reference}").status == 502, reference
    fake.on("GET", "blobs", lambda x: x.reply(200, b"x", content_length=""), times=100)
    assert api("GET", f"docker.io/library/app/blobs/{image.digest}").status == 502


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "http://169.254.169.254/latest", "ftp://a/b", "http://localhost:1/internal"],
)
def test_redirects_lead_to_no_secrets(target: str, cached: Any, fake: FakeRegistry, make: Any) -> None:
    api = cached(user="me", password="secret-of-mine")
    fake.on("GET", "blobs", lambda x: x.reply(307, location=target), times=100)
    answer = api("GET", f"docker.io/library/app/blobs/{make.digest(b'x')}")
    assert answer.status in (502, 504)
    assert "secret-of-mine" not in repr(api.cache.log) + answer.body.decode()


def test_credentials_stay_with_their_upstream(
    cached: Any, fake: FakeRegistry, image: SimpleNamespace, make: Any
) -> None:
    """They go to the upstream when it asks, and nowhere else: not where it redirects to, not to clients."""
    other = FakeRegistry()
    try:
        digest = make.digest(image.layer)
        other.add_blob("library/app", image.layer)
        challenge = {"www_authenticate": 'Basic realm="x"'}

        def ask(x: Exchange) -> bool:
            return "authorization" not in x.headers and x.reply(401, **challenge)

        fake.on("GET", "manifests", ask, times=100)
        fake.on("GET", digest, lambda x: x.reply(307, location=f"http://{other.host}{x.path}"), times=100)
        api = cached(user="me", password="secret-of-mine")
        answer = api("GET", "docker.io/library/app/manifests/1")
        assert answer.status == 200
        assert "authorization" not in str(answer.headers).lower()
        assert any("authorization" in {key.lower() for key in headers} for headers in fake.sent("GET"))
        assert api("GET", f"docker.io/library/app/blobs/{digest}").body == image.layer
        assert all("authorization" not in {key.lower() for key in each} for each in other.sent("GET"))
        assert "secret-of-mine" not in repr(api.cache.log) + repr(api.cache.rules)
    finally:
        other.close()


def test_a_registry_that_is_its_own_upstream_is_told_so(tmp_path: Path, api_of: Any) -> None:
    rules = UpstreamRules("docker.io")
    upstreams = upstreams_of((rules,), Wiring(Config(str(tmp_path))))
    with RunningServer(str(tmp_path / "r"), upstreams=upstreams) as running:
        answer = api_of(running.url)("GET", "docker.io/a/b/manifests/1", User_Agent=upstreams[0].agent)
        assert (answer.status, answer.code) == (508, "UNSUPPORTED")


def test_a_private_blob_is_not_had_by_its_digest(
    cached: Any, fake: FakeRegistry, image: SimpleNamespace, make: SimpleNamespace
) -> None:
    """An upstream that names a digest of ours gets no client our bytes: it has to send them itself."""
    api = cached()
    secret = make.digest(b"ours alone")
    api.push_blob("team/app", b"ours alone")
    assert api("GET", f"docker.io/library/app/blobs/{secret}").status == 404
    fake.on("HEAD", secret, lambda x: x.reply(200, b"ours alone"), times=10)
    fake.on("GET", secret, lambda x: x.reply(200, b"ours alike"), times=10)
    assert api("GET", f"docker.io/evil/app/blobs/{secret}").status == 502


def test_layers_that_copies_share_are_fetched_once(cached: Any, fake: FakeRegistry, make: Any) -> None:
    api = cached()
    for name in ("library/a", "library/b"):
        image = add_image(fake, make, name, "1", b"base layer")
    for name in ("library/a", "library/b"):
        answer = api("GET", f"docker.io/{name}/blobs/{make.digest(image.layer)}")
        assert answer.body == image.layer
    assert len(asked(fake, make.digest(image.layer))) == 1


def test_damaged_content_is_fetched_again(
    cached: Any, fake: FakeRegistry, image: SimpleNamespace, make: SimpleNamespace, tmp_path: Path
) -> None:
    api, digest = cached(), make.digest(image.layer)
    paths = (f"blobs/{digest}", f"manifests/{image.digest}")
    for path in paths:
        assert api("GET", f"docker.io/library/app/{path}").status == 200
    (tmp_path / f"registry/blobs/sha256/{digest[7:]}").unlink()
    assert api("GET", f"docker.io/library/app/{paths[0]}").body == image.layer


def test_it_ends_while_an_upstream_sends_nothing(cached: Any, fake: FakeRegistry, make: Any) -> None:
    api, go_on, asking = cached(), threading.Event(), threading.Event()

    def say_nothing(x: Exchange) -> bool:
        asking.set()
        go_on.wait(60)
        return x.cut()

    def pull() -> None:
        with suppress(HTTPException, OSError):
            api("GET", f"docker.io/library/app/blobs/{make.digest(b'x')}")

    fake.on("GET", "blobs", say_nothing, times=9)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(pull)
        assert asking.wait(60)
        pool.submit(api.end).result(30)
        go_on.set()


def test_an_address_is_no_namespace(nacre: Any, tmp_path: Path) -> None:
    words = "registry", "serve", "--addr", "127.0.0.1:0", "--upstream", "127.0.0.1:5", "--root", str(tmp_path)
    done = nacre(*words, check=False)
    assert done.code == 1
    assert 'below [upstreams."127.0.0.1:5"]: prefix = "NAME"' in done.err
