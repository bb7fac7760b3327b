from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from http.client import BadStatusLine, RemoteDisconnected
from pathlib import Path

import pytest
import selfsigned
from contract import put
from fakeregistry import Exchange, FakeRegistry
from urllib3 import exceptions

from nacre.grammars.config import MirrorSettings, RegistrySection, Settings
from nacre.ground.work.throttle import Throttle
from nacre.images.model.source import ForkSafe
from nacre.services.client import Client, Policy, TransportLimits
from nacre.services.client.hosts import HostEndpoint, candidates
from nacre.services.client.proxies import is_direct, proxy_for
from nacre.services.client.retry import Retry, Transient, retry_after
from nacre.services.client.session import redirected
from nacre.services.client.throttle import Grain, Throttles, piece
from nacre.services.client.transport import Request, Special, Transport, tls_context, translated
from nacre.words.errors import (
    InvalidName,
    NacreError,
    NotFound,
    RegistryError,
    StoreError,
    Unreachable,
    UsageError,
)
from nacre.words.reference import Reference

Connect = Callable[..., Client]


@pytest.mark.parametrize(
    ("registry", "urls"),
    [
        ("docker.io", ["https://registry-1.docker.io"]),
        ("ghcr.io", ["https://ghcr.io"]),
        ("reg.example:5000", ["https://reg.example:5000"]),
        ("weak.example", ["https://weak.example", "http://weak.example"]),
        ("127.0.0.1:5000", ["http://127.0.0.1:5000", "https://127.0.0.1:5000"]),
        ("localhost:5000", ["http://localhost:5000", "https://localhost:5000"]),
    ],
)
def test_candidates(registry: str, urls: list[str]) -> None:
    found = candidates(registry, ("weak.example",))
    assert [place.url for place in found] == urls
    assert [place.verify for place in found] == [len(urls) == 1] * len(urls)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return selfsigned.certificate(tmp_path, "DNS:localhost")


@pytest.fixture
def secure(fake: FakeRegistry, certificate: Path) -> Iterator[FakeRegistry]:
    selfsigned.speak_tls(fake._server, certificate)
    return fake


def test_loopback_over_tls_is_found(secure: FakeRegistry, connect: Connect) -> None:
    repository = connect().repository(Reference.parse(f"{secure.host}/app"))
    assert repository.has(put(repository, b"content"))


def test_tls_is_verified_elsewhere(secure: FakeRegistry, certificate: Path) -> None:
    try:
        socket.getaddrinfo("localhost", None, socket.AF_INET)
    except OSError:
        pytest.skip("this machine has no name for itself: no localhost in /etc/hosts")
    url = f"https://localhost:{secure.host.partition(':')[2]}/v2/"
    strict = Transport()
    with pytest.raises(Unreachable, match="is not trusted"):
        strict.send(Request("GET", url))
    trusting = Transport(ca_file=str(certificate))
    trusting.send(Request("GET", url)).close()
    with pytest.raises(Unreachable, match="not trusted"):
        trusting.send(Request("GET", url.replace("localhost", "127.0.0.1")))
    for transport in (strict, trusting):
        transport.close()


def here(secure: FakeRegistry) -> str:
    """`localhost:port`, the name that the certificate has."""
    try:
        socket.getaddrinfo("localhost", None, socket.AF_INET)
    except OSError:
        pytest.skip("this machine has no name for itself: no localhost in /etc/hosts")
    return f"localhost:{secure.host.partition(':')[2]}"


def test_an_authority_for_one_registry(secure: FakeRegistry, certificate: Path, connect: Connect) -> None:
    """With it the certificate counts, on loopback too; without it nothing there is verified."""
    name = here(secure)
    put(connect().repository(Reference.parse(f"{name}/app")), b"content")
    settings = Settings((RegistrySection(name, ca=str(certificate)),))
    put(
        connect(limits=TransportLimits(), settings=settings).repository(Reference.parse(f"{name}/app")),
        b"content",
    )
    other = selfsigned.certificate(certificate.parent, file="other.pem")
    settings = Settings((RegistrySection(name, ca=str(other)),))
    with pytest.raises(Unreachable, match="not trusted"):
        put(
            connect(limits=TransportLimits(), settings=settings).repository(Reference.parse(f"{name}/app")),
            b"content",
        )


def test_a_certificate_of_ones_own(fake: FakeRegistry, certificate: Path, connect: Connect) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    server = fake._server
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    name, files = here(fake), certificate.parent
    both = {"cert": str(files / "cert.pem"), "key": str(files / "cert.key")}
    settings = Settings((RegistrySection(name, ca=str(certificate), **both),))  # type: ignore[arg-type]
    put(
        connect(limits=TransportLimits(), settings=settings).repository(Reference.parse(f"{name}/app")),
        b"content",
    )
    settings = Settings((RegistrySection(name, ca=str(certificate)),))
    with pytest.raises(NacreError):
        put(
            connect(limits=TransportLimits(), settings=settings).repository(Reference.parse(f"{name}/app")),
            b"content",
        )
    found = Special((str(certificate),), ((both["cert"], both["key"]),))
    repository = connect(limits=TransportLimits(), certificates=lambda _host: found).repository(
        Reference.parse(f"{name}/app")
    )
    put(repository, b"content")


def test_an_encrypted_key_does_not_ask(certificate: Path) -> None:
    key = certificate.with_name("locked.pem")
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", certificate.with_name("cert.key"),
         "-out", key],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(StoreError, match="encrypted"):
        tls_context(verify=True, pairs=[(str(certificate.with_name("cert.pem")), str(key))])


@pytest.mark.parametrize(
    ("section", "urls"),
    [
        (RegistrySection("a.example", plain_http=True), ["http://a.example"]),
        (RegistrySection("a.example", insecure=True), ["https://a.example", "http://a.example"]),
        (RegistrySection("a.example"), ["https://a.example"]),
        (RegistrySection("b.example", insecure=True), ["https://a.example"]),
    ],
)
def test_candidates_by_settings(section: RegistrySection, urls: list[str]) -> None:
    assert [place.url for place in candidates("a.example", (), Settings((section,)))] == urls


def test_proxies_of_one_registry(fake: FakeRegistry, connect: Connect) -> None:
    """One goes through a proxy although nothing else does, another directly although all else does not."""
    settings = Settings((RegistrySection("far.example", proxy=f"http://me:pw@{fake.host}", plain_http=True),))
    client = connect(limits=TransportLimits(), settings=settings)
    with pytest.raises(NotFound):
        client.repository(Reference.parse("far.example/app")).resolve(Reference.parse("far.example/app"))
    verb, path, headers = fake.requests[0]
    assert (verb, path) == ("GET", "http://far.example/v2/app/manifests/latest")
    assert headers["proxy-authorization"] == "Basic bWU6cHc="
    settings = Settings((RegistrySection(fake.host, proxy="direct"),))
    client = connect(
        limits=TransportLimits(), settings=settings, proxies={"http_proxy": "http://127.0.0.1:1"}
    )
    put(client.repository(Reference.parse(f"{fake.host}/app")), b"content")


def test_a_proxy_for_everything(fake: FakeRegistry, connect: Connect) -> None:
    far = RegistrySection("far.example", plain_http=True)
    for settings, proxies in (
        (Settings((far,), proxy=f"http://{fake.host}"), {"http_proxy": "http://127.0.0.1:1"}),
        (Settings((far,), no_proxy="other"), {"http_proxy": fake.host, "no_proxy": "far.example"}),
    ):
        client = connect(limits=TransportLimits(), settings=settings, proxies=proxies)
        with pytest.raises(NotFound):
            client.repository(Reference.parse("far.example/app")).resolve(Reference.parse("far.example/app"))
    assert len(fake.sent("GET", "http://far.example/v2/app/")) == 2


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_rate_is_kept() -> None:
    time = Time()
    throttle = Throttle(1000, time, time.sleep)
    for _ in range(10):
        throttle.take(500)
    assert time.now == 104.5
    time.now += 1000
    throttle.take(1)
    throttle.take(1)
    assert time.now < 1104.6, "what was not used is not saved up"


def test_rates_of_one_and_of_all() -> None:
    settings = Settings((RegistrySection("slow.example", rate=80_000),), rate=8_000_000)
    throttles = Throttles(settings)
    assert [throttle.rate for throttle in throttles.of("slow.example")] == [8_000_000, 80_000]
    assert throttles.of("slow.example")[1] is throttles.of("slow.example")[1]
    assert [throttle.rate for throttle in throttles.of("other.example")] == [8_000_000]
    assert piece(throttles.of("slow.example"), 1_000_000) == 10_000
    assert piece((), 1_000_000) == 1_000_000


def test_a_grain_is_what_a_line_gives_in_a_moment() -> None:
    grain, sizes = Grain(), []
    for seconds in (*[0.001] * 6, *[0.1] * 2, *[1.0] * 12):
        grain.took(grain.size, seconds)
        sizes.append(grain.size)
    assert sizes[5] == sizes[7] == Grain.MOST
    assert sizes[-1] == Grain.LEAST
    grain.took(1, 0.001)  # the end of a body says nothing
    assert grain.size == Grain.LEAST


def test_a_transfer_at_a_rate(fake: FakeRegistry, connect: Connect) -> None:
    client = connect(limits=TransportLimits(), settings=Settings(rate=10_000_000))
    repository = client.repository(Reference.parse(f"{fake.host}/app"))
    found = put(repository, bytes(200_000))
    with repository.fetch(found) as reader:
        assert b"".join(iter(lambda: reader.read(1 << 20), b"")) == bytes(200_000)


def test_what_is_divided_between_processes(fake: FakeRegistry, connect: Connect) -> None:
    """Not what one of them keeps account of."""
    app = Reference.parse(f"{fake.host}/app")
    mirrored = Settings((RegistrySection(fake.host, mirrors=(MirrorSettings("mirror.example"),)),))
    for settings, fork_safe in ((Settings(), True), (Settings(rate=10_000_000), False), (mirrored, False)):
        repository = connect(limits=TransportLimits(), settings=settings).repository(app)
        assert isinstance(repository, ForkSafe)
        assert repository.fork_safe is fork_safe


def test_a_fork_has_connections_of_its_own(fake: FakeRegistry, connect: Connect) -> None:
    ports: list[int] = []
    fake.on("GET", "/blobs/", lambda exchange: ports.append(exchange.client_address[1]) or False, 3)
    repository = connect(limits=TransportLimits()).repository(Reference.parse(f"{fake.host}/app"))
    found = put(repository, bytes(200_000))
    for forks in (False, False, True):
        if forks:
            repository.forked()
        with repository.fetch(found) as reader:
            assert b"".join(iter(lambda: reader.read(1 << 20), b"")) == bytes(200_000)
    assert ports[0] == ports[1] != ports[2]


def test_missing_certificates(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="certificates"):
        Transport(ca_file=str(tmp_path / "none")).send(Request("GET", "https://localhost/"))


def test_plain_http_where_tls_is_spoken(fake: FakeRegistry) -> None:
    transport = Transport()
    with pytest.raises(Unreachable, match="TLS"):
        transport.send(Request("GET", f"https://{fake.host}/v2/"))
    transport.close()


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://reg.example/v2/", "http://p:1"),
        ("https://a.corp.example/v2/", ""),
        ("https://corp.example/", ""),
        ("https://notcorp.example/", "http://p:1"),
        ("https://127.0.0.1:5000/", ""),
        ("http://reg.example/", ""),
    ],
)
def test_proxy(url: str, proxy: str) -> None:
    assert proxy_for(url, {"https_proxy": "p:1", "no_proxy": "x, .corp.example"}) == proxy
    assert proxy_for(url, {"all_proxy": "http://p:1", "no_proxy": "*"}) == ""
    assert proxy_for(url, {"all_proxy": "http://p:1", "no_proxy": "*"}, "http://own:2") == "http://own:2"
    assert proxy_for(url, {"all_proxy": "http://p:1"}, "direct") == ""


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("reg.example:5000", "reg.example", True),
        ("reg.example:443", "reg.example", False),
        ("192.0.2.0/24", "192.0.2.7", True),
        ("192.0.2.0/24", "192.0.3.7", False),
        ("192.0.2.0/24", "reg.example", False),
        ("192.0.2.7:5000", "192.0.2.7", True),
        ("[2001:db8::1]:5000", "2001:db8::1", True),
        ("[2001:db8::1]:443", "2001:db8::1", False),
        ("2001:db8::1", "2001:db8::1", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("a/b, ,REG.example", "reg.example", True),
        ("", "reg.example", False),
    ],
)
def test_hosts_that_are_asked_directly(no_proxy: str, host: str, direct: bool) -> None:
    """As docker reads no_proxy: with ports, and networks of addresses."""
    assert is_direct(host, 5000, no_proxy) == direct


@pytest.mark.parametrize(
    "proxy", ["socks5://p:1", "http://a:b:c", "http://", "bad:bad:bad", "http://p:99999"]
)
def test_a_proxy_that_cannot_be_used_is_named(proxy: str) -> None:
    with pytest.raises(UsageError, match="invalid proxy"):
        Transport(proxies={"all_proxy": proxy}).send(Request("GET", "http://reg.example/v2/"))


def test_the_password_of_a_proxy_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        proxy_for("http://reg.example/", {"http_proxy": "socks5://me:hunter2@p:1"})
    assert "hunter2" not in caught.value.message


def test_a_proxy_is_asked(fake: FakeRegistry) -> None:
    transport = Transport(proxies={"all_proxy": f"http://{fake.host}"})
    transport.send(Request("GET", "http://reg.example/v2/")).close()
    assert fake.requests[0][1] == "http://reg.example/v2/"
    transport.close()


def test_connections_are_used_again(fake: FakeRegistry, connect: Connect) -> None:
    ports: set[int] = set()

    def note(x: object) -> bool:
        ports.add(x.client_address[1])  # type: ignore[attr-defined]
        return False

    for method in ("GET", "HEAD", "POST", "PUT"):
        fake.on(method, "/", note, times=100)
    repository = connect().repository(Reference.parse(f"{fake.host}/app"))
    for number in range(5):
        assert repository.has(put(repository, b"%d" % number * 100_000))
    assert len(ports) == 1


def test_the_endpoint_of_a_registry_is_asked_for_once(fake: FakeRegistry, connect: Connect) -> None:
    client = connect()
    for name in ("a", "b"):
        put(client.repository(Reference.parse(f"{fake.host}/{name}")), b"x")
    assert [path for _, path, _ in fake.requests].count("/v2/") == 1


# Redirects


@pytest.mark.parametrize(
    ("location", "kept"),
    [("/other", True), ("https://reg.example/x", True), ("https://reg.example:444/x", False),
     ("https://cdn.example/x?sig=1", False)],
)  # fmt: skip
def test_redirected(location: str, kept: bool) -> None:
    request = Request("GET", "https://reg.example/v2/", {"Authorization": "secret", "Range": "bytes=5-"})
    after = redirected(request, location)
    assert ("Authorization" in after.headers) is kept
    assert after.headers["Range"] == "bytes=5-"


def test_never_from_tls_to_plain_http() -> None:
    with pytest.raises(RegistryError, match="not encrypted"):
        redirected(Request("GET", "https://reg.example/"), "http://cdn.example/?secret=1")


# Retry


def test_waits_double_up_to_a_cap_and_chance_shortens_them() -> None:
    waits: list[float] = []
    retry = Retry(Policy(attempts=7, base=1.0, cap=10.0, sleep=waits.append, chance=lambda: 1.0))
    failure = Transient(RegistryError("busy"))
    for _ in range(6):
        retry.again(failure)
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    with pytest.raises(RegistryError, match="busy"):
        retry.again(failure)


def test_progress_forgets_failures() -> None:
    retry = Retry(Policy(attempts=2, sleep=lambda _seconds: None))
    for _ in range(5):
        retry.again(Transient(RegistryError("busy")))
        retry.progress(2 * 1024 * 1024)
    retry.progress(10)
    retry.again(Transient(RegistryError("busy")))
    with pytest.raises(RegistryError):
        retry.again(Transient(RegistryError("busy")))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None), ("0", 0.0), (" 120 ", 120.0), ("9" * 100, 999999999.0), ("-5", None), ("soon", None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0), ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:28:30 GMT", None), ("²", None),
    ],
)  # fmt: skip
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(text, "Wed, 21 Oct 2015 07:28:00 GMT") == seconds


def test_endpoint_is_a_value() -> None:
    assert HostEndpoint("https://x") == HostEndpoint("https://x", True)


# Foreign errors


@pytest.mark.parametrize(
    ("error", "known", "passing", "text"),
    [
        (exceptions.ProxyError("no", OSError(111, "Connection refused")), False, False, "through the proxy"),
        (exceptions.ConnectTimeoutError("slow"), False, False, "does not answer"),
        (exceptions.ConnectTimeoutError("slow"), True, True, "does not answer"),
        (exceptions.ProtocolError("x", ConnectionResetError(104, "reset")), False, True, "was cut"),
        (exceptions.ProtocolError("x", RemoteDisconnected("bye")), False, True, "was cut"),
        (exceptions.ProtocolError("x", BadStatusLine("what")), True, False, "did not answer in HTTP"),
        (exceptions.IncompleteRead(3, 5), True, True, "was cut"),
        (ssl.SSLEOFError(8, "EOF occurred"), True, True, "TLS with"),
        (ssl.SSLEOFError(8, "EOF occurred"), False, False, "TLS with"),
        (TimeoutError("timed out"), True, True, "time-out"),
        (BrokenPipeError(32, "Broken pipe"), True, True, "was cut"),
        (OSError(113, "No route to host"), True, True, "No route to host"),
        (exceptions.LocationParseError("h"), True, False, "did not answer in HTTP"),
        (UnicodeError("label too long"), True, False, "did not answer in HTTP"),
    ],
)
def test_foreign_errors(error: Exception, known: bool, passing: bool, text: str) -> None:
    with (
        pytest.raises((Transient, NacreError)) as caught,
        translated("https://me:pw@r.example/x", known=known),
    ):
        raise error
    failure = caught.value
    assert isinstance(failure, Transient) is passing
    message = failure.error.message if isinstance(failure, Transient) else failure.message
    assert text in message
    assert "r.example" in message
    assert "pw" not in message


# Any URL


def test_download(fake: FakeRegistry, connect: Connect) -> None:
    fake.on("GET", "/a.tar", lambda x: x.reply(302, location="/b.tar"))
    fake.on("GET", "/b.tar", lambda x: x.reply(503))
    fake.on("GET", "/a.tar", lambda x: x.reply(302, location="/b.tar"))
    fake.on("GET", "/b.tar", lambda x: x.reply(200, b"content", content_length=""))
    with connect().download(f"http://{fake.host}/a.tar?x=1") as reader:
        assert reader.read(3) + reader.read(-1) == b"content"
    assert fake.requests[0][1] == "/a.tar?x=1"


def test_a_download_that_breaks_off(fake: FakeRegistry, connect: Connect) -> None:
    fake.on("GET", "/a", lambda x: x.reply(200, b"abc", content_length="10") and x.cut())
    with (
        pytest.raises(Unreachable, match="cut"),
        connect().download(f"http://{fake.host}/a") as reader,
    ):
        reader.read(-1)


def _cut_after(count: int, **headers: str) -> Callable[[Exchange], object]:
    def answer(x: Exchange) -> object:
        return x.reply(200, b"content"[:count], content_length="7", **headers) and x.cut()

    return answer


def test_a_download_resumes_where_it_stopped(fake: FakeRegistry, connect: Connect) -> None:
    fake.on("GET", "/a", _cut_after(3, etag='"1"'))
    fake.on("GET", "/a", lambda x: x.reply(206, b"tent", content_range="bytes 3-6/7", content_length="4"))
    with connect().download(f"http://{fake.host}/a") as reader:
        assert reader.read(-1) == b"content"
    headers = fake.requests[-1][2]
    assert (headers["Range"], headers["If-Range"]) == ("bytes=3-", '"1"')


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', ""])
def test_a_download_of_another_version_is_not_resumed(fake: FakeRegistry, connect: Connect, tag: str) -> None:
    fake.on("GET", "/a", _cut_after(3, etag=tag))
    fake.on("GET", "/a", lambda x: x.reply(200, b"another", content_length="7"))
    with (
        pytest.raises(Unreachable, match="cut"),
        connect().download(f"http://{fake.host}/a") as reader,
    ):
        reader.read(-1)


def test_downloads_that_do_not_begin(fake: FakeRegistry, connect: Connect) -> None:
    with pytest.raises(NotFound):
        connect().download(f"http://{fake.host}/none")
    for url in ("ftp://x/", "file:///etc/passwd", "http://", "nonsense"):
        with pytest.raises(InvalidName):
            connect().download(url)
