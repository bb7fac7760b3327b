"""The conversation about who is there: as a generator alone, then over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from contract import descriptor, put
from fakeregistry import Exchange, FakeRegistry

from nacre.grammars.wire.auth import Credentials
from nacre.services.client import Client
from nacre.services.client.auth import Answer, Authenticator, Flow, TokenRequest
from nacre.services.client.transport import Request
from nacre.words.errors import RegistryError, Unauthorized
from nacre.words.reference import Reference

ME = Credentials("me", "hunter2")
BEARER = {
    "www-authenticate": 'Bearer realm="https://auth.example/token",service="reg",scope="repository:app:pull"'
}
BASIC = {"www-authenticate": 'Basic realm="x"'}
GET = Request("GET", "https://reg.example/v2/app/manifests/latest")
PULL = ("repository:app:pull",)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def authenticator(credentials: Credentials | None = None, clock: Clock | None = None) -> Authenticator:
    return Authenticator("reg.example/app", lambda _name: credentials, clock or Clock())


def token(text: str, **more: object) -> Answer:
    return Answer(200, body=json.dumps({"token": text, **more}).encode())


def talk(flow: Flow, *answers: Answer) -> list[Request]:
    """Every request of a conversation in which these answers are given in turn."""
    seen: list[Request] = []
    step: Request | TokenRequest = next(flow)
    for answer in answers:
        seen.append(step.request if isinstance(step, TokenRequest) else step)
        try:
            step = flow.send(answer)
        except StopIteration:
            assert answer is answers[-1]
            return seen
    raise AssertionError(f"the conversation goes on with {step}")


def auth_of(request: Request) -> str:
    return request.headers.get("Authorization", "")


def test_an_open_registry_is_asked_once() -> None:
    assert talk(authenticator(ME).flow(GET, PULL), Answer(200)) == [GET]


def test_basic_is_remembered() -> None:
    auth = authenticator(ME)
    first, second = talk(auth.flow(GET, PULL), Answer(401, BASIC), Answer(200))
    assert (auth_of(first), auth_of(second)) == ("", ME.basic())
    (third,) = talk(auth.flow(GET, PULL), Answer(200))
    assert auth_of(third) == ME.basic()


def test_basic_that_is_refused_is_not_repeated() -> None:
    auth = authenticator(ME)
    talk(auth.flow(GET, PULL), Answer(401, BASIC), Answer(401, BASIC))
    talk(auth.flow(GET, PULL), Answer(401, BASIC))


def test_basic_without_credentials_ends() -> None:
    talk(authenticator().flow(GET, PULL), Answer(401, BASIC))


def test_a_401_without_a_challenge_stands() -> None:
    talk(authenticator(ME).flow(GET, PULL), Answer(401))


def test_a_token_is_fetched_and_kept() -> None:
    auth = authenticator(ME)
    _, asked, again = talk(auth.flow(GET, PULL), Answer(401, BEARER), token("t1"), Answer(200))
    assert asked.url == "https://auth.example/token?service=reg&scope=repository:app:pull&account=me"
    assert auth_of(asked) == ME.basic()
    assert auth_of(again) == "Bearer t1"
    (other,) = talk(auth.flow(GET, PULL), Answer(200))
    assert auth_of(other) == "Bearer t1"


def test_an_anonymous_token() -> None:
    _, asked, again = talk(authenticator().flow(GET, PULL), Answer(401, BEARER), token("t1"), Answer(200))
    assert auth_of(asked) == ""
    assert auth_of(again) == "Bearer t1"


def test_each_scope_has_its_token() -> None:
    auth = authenticator()
    talk(auth.flow(GET, PULL), Answer(401, BEARER), token("t1"), Answer(200))
    push = ("repository:app:pull,push",)
    asked, again = talk(auth.flow(GET, push), token("t2"), Answer(200))
    assert "scope=repository:app:pull,push" in asked.url
    assert auth_of(again) == "Bearer t2"


def test_what_the_challenge_asks_for_is_asked_for_too() -> None:
    more = {"www-authenticate": 'Bearer realm="https://auth.example/token",scope="repository:other:pull"'}
    _, asked, _ = talk(authenticator().flow(GET, PULL), Answer(401, more), token("t"), Answer(200))
    assert parse_qs(urlsplit(asked.url).query)["scope"] == ["repository:app:pull", "repository:other:pull"]


def test_a_token_that_expires_is_renewed_before_use() -> None:
    clock = Clock()
    auth = authenticator(clock=clock)
    talk(auth.flow(GET, PULL), Answer(401, BEARER), token("t1", expires_in=300), Answer(200))
    clock.now += 269
    talk(auth.flow(GET, PULL), Answer(200))
    clock.now += 2
    _, again = talk(auth.flow(GET, PULL), token("t2"), Answer(200))
    assert auth_of(again) == "Bearer t2"


def test_a_token_refused_in_mid_transfer_is_renewed_once() -> None:
    auth = authenticator()
    talk(auth.flow(GET, PULL), Answer(401, BEARER), token("t1"), Answer(200))
    first, _, again = talk(auth.flow(GET, PULL), Answer(401, BEARER), token("t2"), Answer(401, BEARER))
    assert (auth_of(first), auth_of(again)) == ("Bearer t1", "Bearer t2")


def test_the_same_token_again_ends_with_the_answer_of_the_registry() -> None:
    auth = authenticator()
    talk(auth.flow(GET, PULL), Answer(401, BEARER), token("t1"), Answer(200))
    requests = talk(auth.flow(GET, PULL), Answer(401, BEARER), token("t1"), Answer(401, BEARER))
    assert requests[-1].url == GET.url


def test_an_identity_token_is_posted() -> None:
    auth = authenticator(Credentials(identity_token="refresh"))
    _, asked, again = talk(auth.flow(GET, PULL), Answer(401, BEARER), token("t"), Answer(200))
    assert (asked.method, asked.url, auth_of(asked)) == ("POST", "https://auth.example/token", "")
    assert isinstance(asked.body, bytes)
    form = parse_qs(asked.body.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["refresh"]
    assert auth_of(again) == "Bearer t"


def test_a_ready_token_is_used() -> None:
    auth = authenticator(Credentials(registry_token="ready"))
    _, again = talk(auth.flow(GET, PULL), Answer(401, BEARER), Answer(200))
    assert auth_of(again) == "Bearer ready"


@pytest.mark.parametrize("status", [400, 401, 403])
def test_refused_credentials(status: int) -> None:
    with pytest.raises(Unauthorized, match="user 'me'") as caught:
        talk(authenticator(ME).flow(GET, PULL), Answer(401, BEARER), Answer(status))
    assert "hunter2" not in str(caught.value) + caught.value.hint
    assert "nacre login reg.example" in caught.value.hint


def test_the_hint_says_what_is_wrong_with_the_helper() -> None:
    auth = authenticator(Credentials(problem="docker-credential-x is not installed"))
    with pytest.raises(Unauthorized) as caught:
        talk(auth.flow(GET, PULL), Answer(401, BEARER), Answer(401))
    assert caught.value.hint == "docker-credential-x is not installed"


@pytest.mark.parametrize("realm", ["", "http://auth.example/token", "file:///etc/passwd", "http://"])
def test_a_realm_that_gets_no_password(realm: str) -> None:
    challenge = {"www-authenticate": f'Bearer realm="{realm}"'}
    with pytest.raises(RegistryError):
        talk(authenticator(ME).flow(GET, PULL), Answer(401, challenge), Answer(200))


BACKSLASH = "http://evil.example\\\\@reg.example/token"


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("http://reg.example", "http://auth.example/token"),
        ("http://reg.example", "http://127.0.0.1/token"),
        ("http://reg.example", "http://reg.example@evil.example/token"),
        ("http://reg.example", BACKSLASH),
        ("http://127.0.0.1:5000", "http://auth.example/token"),
        ("https://reg.example", "http://reg.example/token"),
        ("https://reg.example", "http://localhost/token"),
    ],
)
@pytest.mark.parametrize("credentials", [ME, Credentials(identity_token="refresh")])
def test_a_realm_in_the_clear_that_gets_no_password(
    registry: str, realm: str, credentials: Credentials
) -> None:
    """A registry without TLS may be anybody, and must not choose who gets the password."""
    challenge = {"www-authenticate": f'Bearer realm="{realm}"'}
    get = Request("GET", f"{registry}/v2/app/manifests/latest")
    with pytest.raises(RegistryError):
        talk(authenticator(credentials).flow(get, PULL), Answer(401, challenge), Answer(200))


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("http://reg.example", "http://reg.example:5001/token"),
        ("http://reg.example:5000", "https://auth.example/token"),
        ("http://127.0.0.1:5000", "http://localhost:5001/token"),
        ("https://127.0.0.1:5000", "http://localhost:5001/token"),
        ("https://reg.example", "https://auth.example/token"),
        ("http://reg.example", "/token"),
    ],
)
def test_a_realm_that_gets_the_password(registry: str, realm: str) -> None:
    challenge = {"www-authenticate": f'Bearer realm="{realm}"'}
    get = Request("GET", f"{registry}/v2/app/manifests/latest")
    _, asked, _ = talk(authenticator(ME).flow(get, PULL), Answer(401, challenge), token("t"), Answer(200))
    assert auth_of(asked) == ME.basic()


def test_anybody_may_name_a_token_server_for_strangers() -> None:
    challenge = {"www-authenticate": 'Bearer realm="http://auth.example/token"'}
    get = Request("GET", "http://reg.example/v2/app/manifests/latest")
    _, asked, _ = talk(authenticator().flow(get, PULL), Answer(401, challenge), token("t"), Answer(200))
    assert auth_of(asked) == ""


@pytest.mark.parametrize("answer", [Answer(500), Answer(200, body=b"{}"), Answer(302)])
def test_a_token_server_that_is_broken(answer: Answer) -> None:
    with pytest.raises(RegistryError):
        talk(authenticator(ME).flow(GET, PULL), Answer(401, BEARER), answer)


def test_credentials_are_looked_up_only_when_needed() -> None:
    asked: list[str] = []
    auth = Authenticator("reg.example/app", asked.append)
    talk(auth.flow(GET, PULL), Answer(200))
    assert asked == []
    for _ in range(2):
        talk(auth.flow(GET, PULL), Answer(401, BASIC))
    assert asked == ["reg.example/app"]


# Over the wire


class Guard:
    """Makes a fake registry want tokens, and issues them itself."""

    def __init__(self, fake: FakeRegistry) -> None:
        self.fake, self.issued, self.valid = fake, 0, ""
        fake.on("GET", "/token", self.issue, times=1000)
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH"):
            fake.on(method, "/v2/", self.check, times=1000)

    def issue(self, x: Exchange) -> bool:
        if x.headers.get("authorization") != ME.basic():
            return x.reply(401)
        self.issued += 1
        self.valid = f"t{self.issued}"
        return x.reply(200, json.dumps({"token": self.valid}).encode())

    def check(self, x: Exchange) -> bool:
        if self.valid and x.headers.get("authorization") == f"Bearer {self.valid}":
            return False
        x.body()
        challenge = f'Bearer realm="http://{self.fake.host}/token",service="fake"'
        return x.reply(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', www_authenticate=challenge)


def test_pull_and_push_with_tokens(fake: FakeRegistry, connect: Callable[..., Client]) -> None:
    guard = Guard(fake)
    repository = connect(credentials=lambda _name: ME).repository(Reference.parse(f"{fake.host}/app"))
    data = b"x" * 6_000_000
    found = put(repository, data)
    assert guard.issued == 1
    guard.valid = ""
    with repository.fetch(found) as reader:
        assert reader.read(-1) == data
    assert guard.issued == 2


def test_a_token_server_that_is_busy(fake: FakeRegistry, connect: Callable[..., Client]) -> None:
    fake.on("GET", "/token", lambda x: x.reply(503, retry_after="1"), times=2)
    guard = Guard(fake)
    client = connect(credentials=lambda _name: ME)
    put(client.repository(Reference.parse(f"{fake.host}/app")), b"x")
    assert guard.issued == 1


def test_a_token_that_expires_during_an_upload(fake: FakeRegistry, connect: Callable[..., Client]) -> None:
    guard = Guard(fake)
    repository = connect(credentials=lambda _name: ME).repository(Reference.parse(f"{fake.host}/app"))

    def expire(x: Exchange) -> bool:
        guard.valid = ""
        return guard.check(x)

    fake._faults.insert(0, ("PATCH", "/uploads/", expire, 1))
    data = b"x" * 6_000_000
    put(repository, data)
    assert guard.issued == 2
    assert repository.has(descriptor(data))


def test_wrong_password(fake: FakeRegistry, connect: Callable[..., Client]) -> None:
    Guard(fake)
    client = connect(credentials=lambda _name: Credentials("me", "wrong-password"))
    with pytest.raises(Unauthorized, match="refused the credentials") as caught:
        put(client.repository(Reference.parse(f"{fake.host}/app")), b"x")
    assert "wrong-password" not in str(caught.value)


def test_check(fake: FakeRegistry, connect: Callable[..., Client]) -> None:
    Guard(fake)
    connect().check(fake.host, ME)
    with pytest.raises(Unauthorized):
        connect().check(fake.host, Credentials("me", "no"))
    with pytest.raises(Unauthorized):
        connect().check(fake.host)


def test_a_refresh_token_is_not_redirected(fake: FakeRegistry, connect: Callable[..., Client]) -> None:
    other = FakeRegistry()
    try:
        Guard(fake)
        fake.on("POST", "/token", lambda x: x.reply(307, location=f"http://{other.host}/token"))
        with pytest.raises(RegistryError):
            connect().check(fake.host, Credentials(identity_token="refresh"))
        assert other.requests == []
    finally:
        other.close()
