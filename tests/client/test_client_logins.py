"""Where credentials are looked for, and that they show up nowhere else."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakeregistry import Exchange, FakeRegistry

import nacre
from nacre.cli import config, login, logout
from nacre.cli.context import Context
from nacre.cli.options import parse
from nacre.engine.network import logins_of
from nacre.grammars.wire.auth import Credentials
from nacre.services.client.certificates import Certificates
from nacre.services.client.logins import variable_name
from nacre.words.errors import RegistryError, StoreError, TooLarge, UsageError

SECRET = "swordfish-7781"


def write(path: Path, registry: str, user: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"auth": base64.b64encode(f"{user}:{SECRET}".encode()).decode()}
    path.write_text(json.dumps({"auths": {registry: entry}}))
    return path


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., Context]:
    def make(**environment: str) -> Context:
        streams = io.StringIO(environment.pop("stdin", "")), io.StringIO(), io.StringIO()
        return Context(
            {"HOME": str(tmp_path), "PATH": "/nowhere", "XDG_RUNTIME_DIR": str(tmp_path / "run")}
            | environment,
            streams=streams,
        )

    return make


def who(context: Context, name: str) -> str:
    found = logins_of(config.network(context)).lookup(name)
    return found.username if found else ""


def test_places_in_order(tmp_path: Path, context: Callable[..., Context]) -> None:
    assert who(context(), "a.example/x") == ""
    write(tmp_path / ".config/containers/auth.json", "a.example", "third")
    assert who(context(), "a.example/x") == "third"
    write(tmp_path / "run/containers/auth.json", "a.example", "second")
    assert who(context(), "a.example/x") == "second"
    write(tmp_path / ".docker/config.json", "a.example", "first")
    assert who(context(), "a.example/x") == "first"
    named = write(tmp_path / "named.json", "a.example", "named")
    assert who(context(REGISTRY_AUTH_FILE=str(named)), "a.example/x") == "named"
    variable = {"NACRE_AUTH_A_EXAMPLE": f"variable:{SECRET}", "REGISTRY_AUTH_FILE": str(named)}
    assert who(context(**variable), "a.example/x") == "variable"
    assert who(context(**variable), "b.example/x") == ""


def test_a_missing_helper_does_not_hide_other_files(tmp_path: Path, context: Callable[..., Context]) -> None:
    path = tmp_path / ".docker/config.json"
    path.parent.mkdir()
    path.write_text('{"credsStore": "nowhere"}')
    found = logins_of(config.network(context())).lookup("a.example/x")
    assert found is not None
    assert not found
    assert "docker-credential-nowhere" in found.problem
    write(tmp_path / "run/containers/auth.json", "a.example", "podman")
    assert who(context(), "a.example/x") == "podman"


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_root_keeps_for_itself_has_nothing_of_ours(
    monkeypatch: pytest.MonkeyPatch, context: Callable[..., Context], there: bool
) -> None:
    """As root's podman leaves /run/containers: the hint stays that of a login."""
    monkeypatch.setattr(os, "access", lambda path, mode: there or path != "/run/containers")
    found = context(XDG_RUNTIME_DIR="")
    assert (f"/run/containers/{found.uid}/auth.json" in config.auth_files(found)) is there


def test_names_of_variables_are_never_mistaken() -> None:
    """A password for one host cannot be meant for another."""
    hosts = ["a-b.c", "a.b-c", "a.b.c", "a--b.c", "a:80", "a.80", "a-80", "my-reg.io:5000", "my.reg.io:5000"]
    assert len({variable_name(host) for host in hosts}) == len(hosts)
    assert variable_name("ghcr.io") == "NACRE_AUTH_GHCR_IO"
    assert variable_name("my-reg.io:5000") == "NACRE_AUTH_MY__REG_IO___5000"


def test_variables(context: Callable[..., Context]) -> None:
    lookup = logins_of(
        config.network(context(NACRE_AUTH_A_EXAMPLE="me:a:b", NACRE_AUTH_B_EXAMPLE="<token>:refresh"))
    ).lookup
    assert lookup("a.example") == Credentials("me", "a:b")
    assert lookup("b.example/x/y") == Credentials(identity_token="refresh")
    for bad in (SECRET, f":{SECRET}", f"{SECRET}:"):
        with pytest.raises(UsageError) as caught:
            logins_of(config.network(context(NACRE_AUTH_A_EXAMPLE=bad))).lookup("a.example")
        assert SECRET not in f"{caught.value.message}{caught.value.hint}"


@pytest.fixture
def guarded(fake: FakeRegistry) -> FakeRegistry:
    def check(x: Exchange) -> bool:
        if x.headers.get("authorization") == Credentials("me", SECRET).basic():
            return False
        return x.reply(401, www_authenticate='Basic realm="x"')

    for verb in ("GET", "HEAD"):
        fake.on(verb, "/v2/", check, times=100_000)
    return fake


def test_login_writes_where_podman_was_told_to(
    guarded: FakeRegistry, tmp_path: Path, context: Callable[..., Context]
) -> None:
    named = tmp_path / "deep" / "auth.json"
    environment = {"REGISTRY_AUTH_FILE": str(named), "stdin": SECRET}
    args = parse(login.COMMAND, ["-u", "me", "--password-stdin", guarded.host], "login")
    with context(**environment) as opened:
        login.COMMAND.run(opened, args)
    assert guarded.host in json.loads(named.read_text())["auths"]
    assert named.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / ".docker").exists()


def test_login_with_an_identity_token(
    fake: FakeRegistry, tmp_path: Path, context: Callable[..., Context]
) -> None:
    def guard(x: Exchange) -> bool:
        realm = f'Bearer realm="http://{fake.host}/token",service="s"'
        good = x.headers.get("authorization") == "Bearer good"
        return x.reply(200) if good else x.reply(401, www_authenticate=realm)

    fake.on("GET", "/v2/", guard, times=100)
    fake.on("POST", "/token", lambda x: SECRET.encode() in x.body() and x.reply(200, b'{"token":"good"}'))
    args = parse(login.COMMAND, ["-u", "<token>", "--password-stdin", fake.host], "login")
    with context(stdin=SECRET) as opened:
        login.COMMAND.run(opened, args)
    assert logins_of(config.network(context())).lookup(fake.host) == Credentials(identity_token=SECRET)


def test_logout_forgets_everywhere(tmp_path: Path, context: Callable[..., Context]) -> None:
    paths = [
        write(tmp_path / ".docker/config.json", "a.example", "x"),
        write(tmp_path / "run/containers/auth.json", "a.example", "y"),
    ]
    with context() as opened:
        logout.COMMAND.run(opened, parse(logout.COMMAND, ["a.example"], "logout"))
    assert [json.loads(path.read_text())["auths"] for path in paths] == [{}, {}]
    assert who(context(), "a.example") == ""


def test_no_secret_is_shown(nacre: Any, guarded: FakeRegistry) -> None:
    """Not in an error, not with --debug, not when the registry says it itself, not in a list of processes."""
    variable = {variable_name(guarded.host): f"me:{SECRET}x"}
    for words in (("pull", f"{guarded.host}/app:1"), ("--debug", "pull", f"{guarded.host}/app:1")):
        done = nacre(*words, check=False, **variable)
        assert done.code == 1
        assert SECRET not in done.out + done.err
        assert base64.b64encode(f"me:{SECRET}x".encode()).decode() not in done.out + done.err
        assert "nacre login" in done.err
    done = nacre(
        "pull", f"{guarded.host}/app:1", check=False, **{variable_name(guarded.host): f"me:{SECRET}"}
    )
    assert "not found" in done.err


def test_a_proxy_with_a_password(nacre: Any) -> None:
    proxy = f"http://me:{SECRET}@127.0.0.1:1"
    for flags in ((), ("--debug",)):
        done = nacre(*flags, "pull", "registry.invalid/app", check=False, NACRE_PROXY=proxy)
        assert done.code == 1
        assert "proxy" in done.err
        assert SECRET not in done.err


def test_a_missing_helper_breaks_no_anonymous_pull(
    nacre: Any, fake: FakeRegistry, busybox_image: str, tmp_path: Path
) -> None:
    """The registry wants a token and gives it to anybody; only where it refuses, the helper is named."""
    (tmp_path / "docker").mkdir(exist_ok=True)
    helpers = {"credsStore": "not-there", "credHelpers": {fake.host: "neither"}}
    (tmp_path / "docker/config.json").write_text(json.dumps(helpers))
    name = f"{fake.host}/app:1"
    nacre("tag", busybox_image, name)
    nacre("push", "-q", name)

    def guard(x: Exchange) -> bool:
        if x.headers.get("authorization") == "Bearer anybody":
            return False
        return x.reply(401, www_authenticate=f'Bearer realm="http://{fake.host}/token",service="s"')

    fake.on("GET", "/token", lambda x: x.reply(200, b'{"token":"anybody"}'))
    fake.on("GET", "/v2/app/", guard, times=100)
    second = type(nacre)(tmp_path / "second", tmp_path)
    second("pull", "-q", name)
    fake.on("GET", "/v2/secret/", lambda x: x.reply(401, www_authenticate="Basic realm=r"), times=100)
    refused = nacre("pull", name.replace("app", "secret"), check=False)
    assert "docker-credential-neither" in refused.err


def test_settings_reach_the_client(nacre: Any, fake: FakeRegistry, tmp_path: Path) -> None:
    """config.toml, the variables, and a mistake in each."""
    file = tmp_path / "config.toml"
    file.write_text(f'[registry."virtual.example"]\nmirrors = ["http://{fake.host}/copy"]\n')
    environment = {"NACRE_CONFIG": str(file), "NACRE_REGISTRY_BLOCKED": "docker.io=true"}
    done = nacre("pull", "virtual.example/app:1", check=False, **environment)
    assert done.code == 1
    assert fake.sent("GET", "/v2/copy/app/manifests/1")
    assert (
        "docker.io/library/x is blocked by NACRE_REGISTRY_BLOCKED"
        in nacre("pull", "x", check=False, **environment).err
    )
    file.write_text('\nratee = "1MB"\n')
    done = nacre("pull", "virtual.example/app:1", check=False, **environment)
    assert f"nacre: {file}:2: unknown key 'ratee'\nhint: did you mean rate?" in done.err
    done = nacre("pull", "x", check=False, NACRE_CONFIG=str(tmp_path / "none"))
    assert "does not exist" in done.err


def test_files_of_other_tools(tmp_path: Path, context: Callable[..., Context]) -> None:
    containers = tmp_path / ".config/containers"
    (containers / "registries.conf.d").mkdir(parents=True)
    (containers / "registries.conf").write_text('[[registry]]\nlocation = "a.example"\nblocked = true\n')
    (containers / "registries.conf.d/10.conf").write_text(
        '[[registry]]\nlocation = "b.example"\ninsecure = true\n'
    )
    (tmp_path / ".config/nacre").mkdir()
    (tmp_path / ".config/nacre/config.toml").write_text(
        'ca = "~/ca.pem"\n[registry."a.example"]\nblocked = false\n'
    )
    found = config.load(context(NACRE_RETRIES="2"))
    assert found.route("a.example", "x").origin.host == "a.example"
    assert found.host("b.example").insecure
    assert found.ca == f"{tmp_path}/ca.pem"
    assert found.retries == 2
    other = tmp_path / "other.conf"
    other.write_text('[[registry]]\nlocation = "c.example"\ninsecure = true\n')
    found = config.load(context(CONTAINERS_REGISTRIES_CONF=str(other)))
    assert found.host("c.example").insecure
    assert not found.host("b.example").insecure


@pytest.mark.parametrize(
    ("text", "is_insecure"),
    [
        ('[[registry]]\nlocation = "c.example"\ninsecure = true\n', True),
        ('registry = [{ location = "c.example", insecure = true }]\n', True),
        ('  "registry" = [{ location = "c.example", insecure = true }]\n', True),
        ('"r\\u0065gistry" = [{ location = "c.example", insecure = true }]\n', True),
        ('[aliases]\n"a" = "b"\n [[ registry ]]\nlocation = "c.example"\ninsecure = true\n', True),
        ('x = """\n[x]\n"""\nregistry = [{ location = "c.example", insecure = true }]\n', True),
        ('# [[registry]]\n[aliases]\n"registry" = "docker.io/library/registry"\n', False),
        ("unqualified-search-registries = ['c.example']\n", False),
    ],
)
def test_tables_of_registries_are_found_however_they_are_written(
    text: str, is_insecure: bool, tmp_path: Path, context: Callable[..., Context]
) -> None:
    named = tmp_path / "named.conf"
    named.write_text(text)
    assert (
        config.load(context(CONTAINERS_REGISTRIES_CONF=str(named))).host("c.example").insecure == is_insecure
    )


def test_certificates_of_other_tools(tmp_path: Path, context: Callable[..., Context]) -> None:
    folder = tmp_path / ".config/docker/certs.d/a.example:5000"
    folder.mkdir(parents=True)
    for name in ("ca.crt", "client.cert", "client.key", "notes.txt"):
        (folder / name).write_text("")
    found = Certificates(config.network(context()).certificate_folders).of("a.example:5000")
    assert found.authorities == (f"{folder}/ca.crt",)
    assert found.pairs == ((f"{folder}/client.cert", f"{folder}/client.key"),)
    assert Certificates(config.network(context()).certificate_folders).of("b.example").authorities == ()
    assert (
        Certificates(config.network(context()).certificate_folders).of("../a.example:5000").authorities == ()
    )


def test_a_file_that_cannot_be_read(tmp_path: Path, context: Callable[..., Context]) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"a = 1\n\xff")
    with pytest.raises(UsageError, match=":2: not UTF-8"):
        config.load(context(NACRE_CONFIG=str(path)))
    assert os.path.exists(path)


def test_an_engine_reads_settings(tmp_path: Path) -> None:
    """Bounded and checked as on the command line."""
    path = tmp_path / "c.toml"
    with nacre.open_store(str(tmp_path / "store")) as engine:
        path.write_text('[registry."docker.io"]\nblocked = true\n')
        engine.configure(str(path))
        with pytest.raises(RegistryError, match="blocked by"):
            engine.pull("debian")
        path.write_bytes(b"a = 1\n\xff")
        with pytest.raises(UsageError, match=":2: not UTF-8"):
            engine.configure(str(path))
        path.write_bytes(b"#" * ((1 << 20) + 1))
        with pytest.raises(TooLarge, match="more than the 1048576 bytes"):
            engine.configure(str(path))
        with pytest.raises(StoreError, match="cannot read"):
            engine.configure(str(tmp_path / "none"))
