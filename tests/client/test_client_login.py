"""`nacre login` and `nacre logout`, with the streams and the environment handed in."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from fakeregistry import Exchange, FakeRegistry

from nacre.cli import login, logout
from nacre.cli.context import Context
from nacre.cli.options import parse
from nacre.grammars.wire.auth import Credentials
from nacre.words.errors import NacreError, Unauthorized, Unreachable, UsageError
from nacre.words.reference import registry_name

ME = Credentials("me", "hunter2")
Run = Callable[..., tuple[str, str]]


@pytest.fixture
def guarded(fake: FakeRegistry) -> FakeRegistry:
    """A registry that wants ME."""

    def check(x: Exchange) -> bool:
        if x.headers.get("authorization") == ME.basic():
            return False
        return x.reply(401, www_authenticate='Basic realm="x"')

    fake.on("GET", "/v2/", check, times=1000)
    return fake


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def command(module: object, *words: str, stdin: str = "") -> tuple[str, str]:
        """Standard output and standard error of one command."""
        streams = io.StringIO(stdin), io.StringIO(), io.StringIO()
        args = parse(module.COMMAND, words, "login")  # type: ignore[attr-defined]
        with Context({"HOME": str(tmp_path), "PATH": "/nowhere"}, streams=streams) as context:
            assert module.COMMAND.run(context, args) == 0  # type: ignore[attr-defined]
        return streams[1].getvalue(), streams[2].getvalue()

    return command


def test_login_and_logout(guarded: FakeRegistry, run: Run, tmp_path: Path) -> None:
    out, err = run(login, "-u", "me", "--password-stdin", guarded.host, stdin="hunter2\n")
    path = tmp_path / ".docker" / "config.json"
    assert out == "Login Succeeded\n"
    assert err == f"WARNING! Your credentials are stored unencrypted in '{path}'.\n"
    assert json.loads(path.read_text()) == {"auths": {guarded.host: {"auth": "bWU6aHVudGVyMg=="}}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    out, err = run(login, guarded.host)
    assert (out, err) == ("Login Succeeded\n", "Authenticating with existing credentials...\n")
    assert run(logout, guarded.host)[0] == f"Removing login credentials for {guarded.host}\n"
    assert run(logout, guarded.host)[0] == f"Not logged in to {guarded.host}\n"
    with pytest.raises(UsageError, match="not a terminal"):
        run(login, guarded.host)


def test_wrong_credentials_are_not_kept(guarded: FakeRegistry, run: Run, tmp_path: Path) -> None:
    with pytest.raises(Unauthorized) as caught:
        run(login, "-u", "me", "-p", "wrong-password", guarded.host)
    assert "wrong-password" not in caught.value.message + caught.value.hint
    assert not (tmp_path / ".docker").exists()


def test_a_password_on_the_line_is_warned_of(guarded: FakeRegistry, run: Run) -> None:
    assert "insecure" in run(login, "-u", "me", "-p", "hunter2", guarded.host)[1]


def test_a_missing_helper_is_said(guarded: FakeRegistry, run: Run, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"credsStore":"absent"}')
    with pytest.raises(NacreError, match="docker-credential-absent") as caught:
        run(login, "-u", "me", "-p", "hunter2", guarded.host)
    assert "could not be stored" in caught.value.hint


@pytest.mark.parametrize(
    "words",
    [["--password-stdin"], ["-u", "me", "-p", "x", "--password-stdin"], ["-u", "me"], [], ["no-registry"],
     ["-u", "me", "--password-stdin"]],
)  # fmt: skip
def test_bad_lines(run: Run, words: list[str]) -> None:
    with pytest.raises(UsageError):
        run(login, *words)


def test_a_registry_that_is_down(run: Run) -> None:
    registry = FakeRegistry()
    registry.close()
    with pytest.raises(Unreachable):
        run(login, "-u", "me", "-p", "x", registry.host)


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("ghcr.io", "ghcr.io"),
        ("https://reg.example:5000/v2/", "reg.example:5000"),
        ("localhost", "localhost"),
    ],
)
def test_registry_name(text: str, registry: str) -> None:
    assert registry_name(text) == registry
