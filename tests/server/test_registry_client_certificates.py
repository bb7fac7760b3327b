"""Clients that log in by certificates: real TLS, with what is expired, revoked, forged or somebody else's."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clientcertificates import Authority, x509

from nacre.engine.accounts import RegistryAccounts
from nacre.services.server import RunningServer
from nacre.services.server.access.certificates import ClientCertificates
from nacre.services.server.relay import PeerCertificate
from nacre.words.errors import UsageError
from nacre.words.rules import AccessRules, ClientCertificateRules, RegistryRules, TlsRules


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Another authority, with the same name."""
    (tmp_path / "stranger").mkdir()
    return Authority(tmp_path / "stranger")


@pytest.fixture
def clients(authority: Authority) -> ClientCertificateRules:
    revoked = authority.revoke()
    users = ("uri:spiffe://example.org/ci/*=ci", "cn:{user}.example.org={user}", "cn:{user}={user}")
    return ClientCertificateRules(str(authority.file), str(revoked), users=users)


@pytest.fixture
def rules(authority: Authority, clients: ClientCertificateRules) -> RegistryRules:
    cert = authority.sign("server", x509.IPAddress(ipaddress.ip_address("127.0.0.1")), server=True)
    tls = TlsRules(str(cert), str(cert.with_suffix(".key")))
    return RegistryRules(tls=tls, access=AccessRules(certificates=clients))


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def serving(folder: str, rules: RegistryRules, log: list[str]) -> Iterator[RunningServer]:
    with RunningServer(folder, rules=rules, log=log.append) as running:
        yield running


class Client:
    """Of one registry, with a certificate or without."""

    def __init__(self, serving: RunningServer, context: ssl.SSLContext) -> None:
        self._address, self._context = serving.url.removeprefix("https://"), context

    def connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, timeout=30, context=self._context)

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        connection = self.connection()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            answer.data = answer.read()  # type: ignore[attr-defined]
            return answer
        finally:
            connection.close()

    def is_refused(self) -> bool:
        """By TLS: with version 1.3 the client learns of it when it reads."""
        try:
            self("GET", "/v2/")
        except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
            return True
        return False


@pytest.fixture
def accounts(serving: RunningServer, accounts: RegistryAccounts) -> RegistryAccounts:
    accounts.add_user("root", "a password", admin=True)
    for name in ("alice", "bob"):
        accounts.add_user(name, "a password")
    accounts.add_user("ci", robot=True)
    accounts.grant("shop", "write", user="ci")
    return accounts


@pytest.fixture
def client(serving: RunningServer, accounts: RegistryAccounts, authority: Authority) -> Callable[..., Client]:
    def made(name: str = "", *alternatives: Any, days: float = 365) -> Client:
        shown = authority.sign(name, *alternatives, days=days) if name else None
        return Client(serving, authority.context(shown))

    return made


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def push(client: Client, name: str) -> int:
    status: int = client("POST", f"/v2/{name}/blobs/uploads/", b"").status
    return status


def test_who_shows_a_certificate_is_logged_in(client: Callable[..., Client]) -> None:
    alice = client("alice")
    assert alice("GET", "/v2/").status == 200
    assert (push(alice, "alice/app"), push(alice, "bob/app")) == (202, 403)
    robot = client("anything", x509.UniformResourceIdentifier("spiffe://example.org/ci/build"))
    assert (push(robot, "shop/app"), push(robot, "alice/app")) == (202, 403)
    assert push(client("bob.example.org"), "bob/app") == 202


def test_who_shows_none_or_one_that_is_nobody_s_has_to_log_in(client: Callable[..., Client]) -> None:
    for nobody in (client(), client("carol"), client("alice.example.net"), client("Alice")):
        assert (nobody("GET", "/v2/").status, push(nobody, "alice/app")) == (401, 401)


def test_a_user_who_is_gone_or_disabled_is_nobody(
    client: Callable[..., Client], accounts: RegistryAccounts
) -> None:
    alice = client("alice")
    assert push(alice, "alice/app") == 202
    accounts.update_user("alice", disabled=True)
    until(lambda: push(alice, "alice/app") == 401)


def test_credentials_come_before_the_certificate(
    client: Callable[..., Client], accounts: RegistryAccounts
) -> None:
    (_, secret), alice = accounts.add_token("ci"), client("alice")
    basic = "Basic " + base64.b64encode(f"ci:{secret}".encode()).decode()
    assert alice("POST", "/v2/shop/app/blobs/uploads/", b"", Authorization=basic).status == 202
    wrong = "Basic " + base64.b64encode(b"ci:wrong").decode()
    assert alice("POST", "/v2/alice/app/blobs/uploads/", b"", Authorization=wrong).status == 401


def test_a_token_counts_with_the_certificate_alone(client: Callable[..., Client]) -> None:
    alice, scope = client("alice"), "scope=repository:alice/app:push"
    answer = alice("GET", f"/token?service=nacre-registry&{scope}")
    bearer = "Bearer " + json.loads(answer.data)["token"]
    path = "/v2/alice/app/blobs/uploads/"
    assert alice("POST", path, b"", Authorization=bearer).status == 202
    for thief in (client("bob"), client()):
        assert thief("POST", path, b"", Authorization=bearer).status == 401
    assert alice("POST", path, b"", Authorization=bearer).status == 202


@pytest.mark.parametrize("why", ["expired", "of another authority", "of a server", "revoked"])
def test_certificates_that_do_not_count(
    client: Callable[..., Client], serving: RunningServer, authority: Authority, stranger: Authority,
    log: list[str], why: str,
) -> None:  # fmt: skip
    """Those connections are refused: what is wrong is told by TLS itself, and to the operator."""
    if why == "expired":
        shown = authority.sign("alice", days=-1)
    elif why == "of another authority":
        shown = stranger.sign("alice")
    elif why == "of a server":
        shown = authority.sign("alice", server=True)
    else:
        shown = authority.sign("alice")
        authority.revoke(shown)
        until(lambda: log)
    refused = Client(serving, authority.context(shown))
    assert refused.is_refused()
    until(lambda: any("client certificate was refused" in line for line in log))
    assert push(client("alice"), "alice/app") == 202


def test_what_is_revoked_meanwhile_is_out_at_once(
    client: Callable[..., Client], serving: RunningServer, authority: Authority, log: list[str]
) -> None:
    """Also on connections that are there; what is under way ends."""
    shown = authority.sign("alice")
    alice = Client(serving, authority.context(shown))
    idle, busy = alice.connection(), alice.connection()
    idle.request("GET", "/v2/")
    assert idle.getresponse().read() == b"{}"
    busy.putrequest("POST", "/v2/alice/app/blobs/uploads/?digest=sha256:" + "0" * 64)
    busy.putheader("Content-Length", "4")
    busy.endheaders(b"da")
    until(lambda: serving.registry.running == 1)
    authority.revoke(shown)
    until(lambda: "what decides on client certificates was renewed" in log)
    assert idle.sock.recv(1) == b""
    busy.send(b"ta")
    answer = busy.getresponse()
    assert (answer.status, b"DIGEST_INVALID" in answer.read()) == (400, True)
    busy.request("GET", "/v2/")
    assert busy.getresponse().status == 421
    assert alice.is_refused()
    for each in (idle, busy):
        each.close()


@pytest.mark.parametrize(
    "name",
    ["X-Client-Cert", "X-SSL-Client-Cert", "Client-Cert", "X-Forwarded-Client-Cert", "X-Remote-User"],
)
def test_no_header_stands_for_a_certificate(client: Callable[..., Client], name: str) -> None:
    for value in ("alice", "CN=alice", 'Subject="CN=alice"'):
        assert client()("GET", "/v2/", None, **{name: value}).status == 401


@pytest.fixture
def others() -> set[int]:
    """Ports of servers that other tests have left."""
    return set(_listening())


def test_nobody_on_this_machine_gets_past_the_relay(
    others: set[int], serving: RunningServer, client: Callable[..., Client]
) -> None:
    """The HTTP server behind it listens on loopback."""
    alice = client("alice").connection()
    alice.request("GET", "/v2/")
    assert alice.getresponse().read() == b"{}"
    inside = {*_listening()} - others - {int(serving.url.rpartition(":")[2])}
    answers = set()
    for port in inside:
        with socket.create_connection(("127.0.0.1", port), 30) as found:
            found.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            answers.add(found.recv(100).partition(b"\r\n")[0])
    assert answers == {b"HTTP/1.1 421 Misdirected Request"}
    alice.close()


def _listening() -> list[int]:
    """Ports on which this process listens."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as each:
                if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and each.family == socket.AF_INET:
                    found.append(each.getsockname()[1])
        except OSError:
            continue
    return sorted(set(found))


def test_a_browser_that_another_site_sends_here_is_nobody(client: Callable[..., Client]) -> None:
    alice = client("alice")
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert alice("POST", "/v2/alice/app/blobs/uploads/", b"", **headers).status == 401
    assert push(alice, "alice/app") == 202


def test_limits_and_records_have_the_client_s_own_address(
    client: Callable[..., Client], serving: RunningServer
) -> None:
    push(client("alice"), "alice/app")
    catalog = serving.registry.state.catalog
    sql = "SELECT actor, client, action FROM activity WHERE action = 'login'"
    until(lambda: ("alice", "127.0.0.1", "login") in [tuple(row) for row in catalog.listed(sql)])


def test_large_content_in_both_directions(client: Callable[..., Client], make: Any) -> None:
    alice, data = client("alice"), os.urandom(5 << 20)
    answer = alice("POST", f"/v2/alice/app/blobs/uploads/?digest={make.digest(data)}", data)
    assert answer.status == 201
    assert alice("GET", f"/v2/alice/app/blobs/{make.digest(data)}").data == data


class TestRequired:
    @pytest.fixture
    def clients(self, authority: Authority) -> ClientCertificateRules:
        return ClientCertificateRules(str(authority.file), required=True)

    def test_nobody_comes_without(self, serving: RunningServer, authority: Authority) -> None:
        assert Client(serving, authority.context()).is_refused()
        known = Client(serving, authority.context(authority.sign("carol")))
        assert (known("GET", "/v2/").status, push(known, "any/thing")) == (200, 202)

    def test_a_renewed_certificate_is_taken_up(
        self, serving: RunningServer, authority: Authority, log: list[str]
    ) -> None:
        """Connections that are there stay."""
        known = Client(serving, authority.context(authority.sign("carol")))
        before = known.connection()
        before.request("GET", "/v2/")
        before.getresponse().read()
        authority.sign("server", x509.IPAddress(ipaddress.ip_address("127.0.0.1")), server=True)
        until(lambda: "the certificate was renewed" in log)
        before.request("GET", "/v2/")
        assert before.getresponse().status == 200
        before.close()

    def test_silent_clients_do_not_keep_others_out(
        self, serving: RunningServer, authority: Authority
    ) -> None:
        host, _, port = serving.url.removeprefix("https://").partition(":")
        silent = [socket.create_connection((host, int(port)), 30) for _ in range(50)]
        known = Client(serving, authority.context(authority.sign("carol")))
        assert known("GET", "/v2/").status == 200
        for each in silent:
            each.close()


def test_intermediate_authorities(tmp_path: Path) -> None:
    """Each needs its list where there are lists; without one for each nobody comes in."""
    root = Authority(tmp_path, "root")
    below = Authority(tmp_path, "below", above=root)
    both = tmp_path / "both.pem"
    both.write_bytes(root.file.read_bytes() + below.file.read_bytes())
    cert = root.sign("server", x509.IPAddress(ipaddress.ip_address("127.0.0.1")), server=True)
    lists, alice, bob = tmp_path / "lists.crl", below.sign("alice"), below.sign("bob")
    lists.write_bytes(root.revoke().read_bytes() + below.revoke(bob).read_bytes())
    clients = ClientCertificateRules(str(both), str(lists), required=True)
    tls = TlsRules(str(cert), str(cert.with_suffix(".key")))
    rules = RegistryRules(tls=tls, access=AccessRules(certificates=clients))
    with RunningServer(str(tmp_path / "r"), rules=rules) as serving:
        assert Client(serving, root.context(alice))("GET", "/v2/").status == 200
        assert Client(serving, root.context(bob)).is_refused()


def certificate(*fields: tuple[str, str]) -> PeerCertificate:
    return PeerCertificate(fields, "0" * 64, time.time() + 60)


@pytest.mark.parametrize(
    ("rule", "field", "user"),
    [
        ("cn:{user}={user}", ("cn", "alice"), "alice"),
        ("cn:{user}={user}", ("cn", "alice\nadmin"), ""),
        ("cn:{user}={user}", ("cn", "a/b"), ""),
        ("cn:{user}={user}", ("dns", "alice"), ""),
        ("dns:{user}.ci.example.org={user}", ("dns", "build-1.ci.example.org"), "build-1"),
        ("dns:{user}.ci.example.org={user}", ("dns", "build-1.ci.example.org.evil.net"), ""),
        ("dns:{user}.ci.example.org={user}", ("dns", "xxciXexampleXorg"), ""),
        ("email:*@example.org=ci", ("email", "any.body@example.org"), "ci"),
        ("email:*@example.org=ci", ("email", "any.body@example.org.net"), ""),
        ("sha256:" + "0" * 64 + "=ci", ("sha256", "0" * 64), "ci"),
        ("uri:spiffe://x/a=b=ci", ("uri", "spiffe://x/a=b"), "ci"),
    ],
)
def test_rules(rule: str, field: tuple[str, str], user: str) -> None:
    found = ClientCertificates(ClientCertificateRules("x", users=(rule,)))
    assert found.user(certificate(field)) == user


def test_the_first_rule_decides() -> None:
    rules = ClientCertificateRules("x", users=("dns:db.example.org=db", "cn:{user}={user}"))
    both = certificate(("cn", "admin"), ("dns", "db.example.org"))
    assert ClientCertificates(rules).user(both) == "db"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"required": True}, "need the authorities"),
        ({"authorities": "x", "users": ("cn:alice",)}, "FIELD:PATTERN=USER"),
        ({"authorities": "x", "users": ("ou:a=b",)}, "unknown field"),
        ({"authorities": "x", "users": ("cn:alice={user}",)}, "once on each side"),
        ({"authorities": "x", "users": ("cn:{user}=alice",)}, "once on each side"),
        ({"authorities": "x", "users": ("cn:{user}=x-{user}",)}, "a name or"),
    ],
)
def test_rules_that_make_no_sense(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        ClientCertificateRules(**settings)
    with pytest.raises(UsageError, match="need TLS"):
        RegistryRules(access=AccessRules(certificates=ClientCertificateRules("x")))


def test_files_that_cannot_be_used(
    tmp_path: Path, rules: RegistryRules, clients: ClientCertificateRules
) -> None:
    from nacre.services.server.tls import TlsFiles

    bad = tmp_path / "bad.pem"
    for data in (b"", b"no PEM", Path(clients.revoked).read_bytes()):
        bad.write_bytes(data)
        with pytest.raises(UsageError, match=r"bad\.pem"):
            TlsFiles(rules.tls, clients.replace(authorities=str(bad)))
    bad.write_bytes(Path(clients.authorities).read_bytes())
    with pytest.raises(UsageError, match=r"no list of revoked certificates in .*bad\.pem"):
        TlsFiles(rules.tls, clients.replace(revoked=str(bad)))
    with pytest.raises(UsageError, match="cannot read"):
        TlsFiles(rules.tls, clients.replace(revoked=str(tmp_path / "absent")))


@pytest.fixture
def folder_of_certificates(
    tmp_path: Path, serving: RunningServer, accounts: RegistryAccounts, authority: Authority
) -> Path:
    """As docker's family looks for it: `certs.d/HOST:PORT`, for alice."""
    place = tmp_path / ".config/docker/certs.d" / serving.url.removeprefix("https://")
    place.mkdir(parents=True)
    shown = authority.sign("alice")
    for name, path in (
        ("ca.crt", authority.file),
        ("client.cert", shown),
        ("client.key", shown.with_suffix(".key")),
    ):
        (place / name).write_bytes(path.read_bytes())
    return place


def pushed(client: Client, make: Any) -> bytes:
    """The manifest of alice/app:1."""
    layer, config = make.layer(b"content"), make.config(b"content")
    for data in (layer, config):
        path = f"/v2/alice/app/blobs/uploads/?digest={make.digest(data)}"
        assert client("POST", path, data).status == 201
    manifest = json.dumps(make.manifest(config, [layer])).encode()
    kind = "application/vnd.oci.image.manifest.v1+json"
    assert client("PUT", "/v2/alice/app/manifests/1", manifest, Content_Type=kind).status == 201
    return manifest


class TestPeers:
    def test_nacre(
        self, nacre: Any, folder_of_certificates: Path, client: Callable[..., Client], make: Any
    ) -> None:
        place = f"{folder_of_certificates.name}/alice/app"
        pushed(client("alice"), make)
        home = str(nacre.folder)
        nacre("copy", f"docker://{place}:1", f"docker://{place}:2", HOME=home)
        assert client("alice")("GET", "/v2/alice/app/manifests/2").status == 200
        for path in folder_of_certificates.glob("client.*"):
            path.unlink()
        refused = nacre("copy", f"docker://{place}:1", f"docker://{place}:3", HOME=home, check=False)
        assert (refused.code, "nacre login" in refused.err) == (1, True)

    def test_skopeo(
        self,
        peer: Any,
        folder_of_certificates: Path,
        client: Callable[..., Client],
        make: Any,
        tmp_path: Path,
    ) -> None:
        """With podman's and buildah's code for registries."""
        peer("skopeo")
        manifest = pushed(client("alice"), make)
        place, folder = f"docker://{folder_of_certificates.name}/alice/app", str(folder_of_certificates)
        copy = ["skopeo", "--insecure-policy", "--tmpdir", str(tmp_path), "copy"]
        both = ["--src-cert-dir", folder, "--dest-cert-dir", folder]
        environment = os.environ | {"HOME": str(tmp_path / "nobody")}
        command = [*copy, *both, f"{place}:1", f"{place}:2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stderr
        assert client("alice")("GET", "/v2/alice/app/manifests/2").data == manifest

    def test_curl(self, peer: Any, folder_of_certificates: Path, serving: RunningServer) -> None:
        peer("curl")
        command = ["curl", "--silent", "--fail", "--noproxy", "*", "--cacert", "ca.crt"]
        shown, place = ["--cert", "client.cert", "--key", "client.key"], folder_of_certificates
        for more, code in ((shown, 0), ([], 22)):
            words = [*command, *more, f"{serving.url}/v2/"]
            done = subprocess.run(words, capture_output=True, timeout=60, cwd=place)
            assert (done.returncode, done.stdout) == (code, b"" if code else b"{}")
