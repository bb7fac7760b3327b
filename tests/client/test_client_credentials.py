from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from nacre.grammars.wire.auth import Challenge, Credentials, token_query
from nacre.services.client.credentials import HUB_KEY, DockerConfig
from nacre.words.errors import StoreError

HELPER = """#!/bin/sh
read url
echo "$1 $url" >> {log}
case "$1 $url" in
"get known.example") echo '{{"ServerURL":"x","Username":"h","Secret":"s"}}' ;;
"get token.example") echo '{{"Username":"<token>","Secret":"refresh"}}' ;;
"get broken.example") echo 'nonsense' ;;
"get locked.example") echo 'the key ring is locked' ; exit 1 ;;
get*) echo 'credentials not found in native keychain' ; exit 1 ;;
esac
"""


def pair(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def config(tmp_path: Path, fields: object) -> DockerConfig:
    path = tmp_path / "config.json"
    path.write_text(fields if isinstance(fields, str) else json.dumps(fields))
    return DockerConfig(
        str(path), environment={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    )


@pytest.fixture
def helper(tmp_path: Path) -> Path:
    """The log of a helper called `docker-credential-test`."""
    log = tmp_path / "log"
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER.format(log=log))
    program.chmod(0o755)
    return log


def test_no_file(tmp_path: Path) -> None:
    assert DockerConfig(str(tmp_path / "none")).lookup("reg.example/app") is None
    assert DockerConfig(str(tmp_path / "none" / "deeper")).lookup("reg.example/app") is None


@pytest.mark.parametrize(
    "key",
    ["reg.example", "https://reg.example", "https://reg.example/v1/", "http://reg.example/v2/",
     "reg.example/", "HTTPS://reg.example/v2", "reg.example/v2/", "reg.example/v1/", "reg.example/v2",
     "https://reg.example/any"],
)  # fmt: skip
def test_auths(tmp_path: Path, key: str) -> None:
    found = config(tmp_path, {"auths": {"other": pair("x", "y"), key: pair("me", "a:b")}})
    assert found.lookup("reg.example/team/app") == Credentials("me", "a:b")
    assert found.lookup("reg.example") == Credentials("me", "a:b")
    assert found.lookup("reg.example:5000/app") is None
    assert found.lookup("evilreg.example/app") is None


@pytest.mark.parametrize("key", [HUB_KEY, "https://index.docker.io", "docker.io", "registry-1.docker.io"])
def test_docker_hub(tmp_path: Path, key: str) -> None:
    found = config(tmp_path, {"auths": {key: pair("me", "pw")}})
    assert found.lookup("docker.io/library/app") == Credentials("me", "pw")


def test_the_longest_key_wins(tmp_path: Path) -> None:
    keys = {
        "r.example": pair("all", "1"),
        "r.example/team": pair("team", "2"),
        "r.example/team/app": pair("app", "3"),
    }
    found = config(tmp_path, {"auths": keys})
    names = ("r.example/team/app", "r.example/team/other", "r.example/teams", "r.example")
    users = [credentials.username for name in names if (credentials := found.lookup(name))]
    assert users == ["app", "team", "all", "all"]


def test_tokens(tmp_path: Path) -> None:
    entry = pair("me", "") | {"identitytoken": "i", "registrytoken": "r"}
    assert config(tmp_path, {"auths": {"r.example": entry}}).lookup("r.example") == Credentials(
        "me", "", "i", "r"
    )


@pytest.mark.parametrize(
    "fields",
    [{}, {"auths": []}, {"auths": {"r.example": 5}}, {"auths": {"r.example": {}}}, {"credHelpers": 7}],
)  # fmt: skip
def test_odd_files_know_nobody(tmp_path: Path, fields: object) -> None:
    assert config(tmp_path, fields).lookup("r.example") is None


@pytest.mark.parametrize(
    "auth",
    ["dXNl\ncjpwdw==", "dXNl\r\n cjpwdw==\n", "dXNlcjpwdw", "dXNlcjpwdw=", " dXNlcjpwdw==\t", "dXNlcjpwdwAA"],
)
def test_base64_as_tools_write_it(tmp_path: Path, auth: str) -> None:
    """Wrapped at 76 characters, without its padding, with zeros at the end."""
    found = config(tmp_path, {"auths": {"r.example": {"auth": auth}}})
    assert found.lookup("r.example/app") == Credentials("user", "pw")


def test_a_password_in_another_encoding(tmp_path: Path) -> None:
    """It goes to the registry as the bytes that it is."""
    auth = base64.b64encode(b"me:p\xe4ss").decode()
    found = config(tmp_path, {"auths": {"r.example": {"auth": auth}}}).lookup("r.example")
    assert found is not None
    assert found.basic() == f"Basic {auth}"
    assert token_query(Challenge("bearer"), (), found.replace(username="m\udce4")) == "account=m%E4"


@pytest.mark.parametrize(
    ("auth", "what"), [("%%%", "not base64"), ("/w==", "without a colon"), ("dXNlcg==", "without a colon")]
)
def test_an_entry_that_cannot_be_read_is_said(tmp_path: Path, auth: str, what: str) -> None:
    """It is the reason when the registry then refuses; a good entry beside it still counts."""
    keys = {"https://r.example/v1/": {"auth": auth}}
    found = config(tmp_path, {"auths": keys}).lookup("r.example/app")
    assert found is not None
    assert not found
    assert what in found.problem
    assert "r.example" in found.problem
    both = config(tmp_path, {"auths": {"r.example/team": {"auth": auth}, "r.example": pair("me", "pw")}})
    assert both.lookup("r.example/team/app") == Credentials("me", "pw")


def test_the_exact_key_wins(tmp_path: Path) -> None:
    keys = {"https://r.example/v1/": pair("old", "1"), "r.example": pair("new", "2")}
    found = config(tmp_path, {"auths": keys}).lookup("r.example/app")
    assert found is not None
    assert found.username == "new"
    spaces = {"r.example/v2": pair("space", "1"), "r.example": pair("all", "2")}
    users = [
        config(tmp_path, {"auths": spaces}).lookup(name) for name in ("r.example/v2/app", "r.example/v3/x")
    ]
    assert [user and user.username for user in users] == ["space", "all"]


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"auths": "x"'])
def test_a_damaged_file_is_a_problem_not_a_failure(tmp_path: Path, text: str) -> None:
    found = config(tmp_path, text).lookup("r.example")
    assert found is not None
    assert not found
    assert "not valid JSON" in found.problem


def test_helper(tmp_path: Path, helper: Path) -> None:
    found = config(tmp_path, {"credsStore": "test", "auths": {"here.example": pair("me", "pw")}})
    assert found.lookup("known.example/app") == Credentials("h", "s")
    assert found.lookup("token.example") == Credentials(identity_token="refresh")
    assert found.lookup("here.example") == Credentials("me", "pw")
    assert found.lookup("nobody.example/a/b") is None
    assert helper.read_text().splitlines() == [
        "get known.example", "get token.example", "get here.example", "get nobody.example"
    ]  # fmt: skip


def test_a_helper_for_one_registry(tmp_path: Path, helper: Path) -> None:
    found = config(tmp_path, {"credHelpers": {"known.example": "test"}})
    assert found.lookup("known.example/app") == Credentials("h", "s")
    assert found.lookup("token.example/app") is None
    assert helper.read_text() == "get known.example\n"


@pytest.mark.parametrize(
    ("fields", "name", "problem"),
    [
        ({"credsStore": "absent"}, "r.example", "docker-credential-absent"),
        ({"credsStore": "../../bin/sh"}, "r.example", "invalid credential helper"),
        ({"credsStore": "test"}, "broken.example", "not JSON"),
        ({"credsStore": "test"}, "locked.example", "key ring is locked"),
    ],
)
def test_a_helper_that_fails_is_a_problem_not_a_failure(
    tmp_path: Path, helper: Path, fields: dict[str, str], name: str, problem: str
) -> None:
    found = config(tmp_path, fields).lookup(name)
    assert found is not None
    assert not found
    assert problem in found.problem


def test_store_and_erase(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.json"
    DockerConfig(str(path)).store("docker.io", Credentials("me", "pw"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"auths": {HUB_KEY: pair("me", "pw")}}
    assert DockerConfig(str(path)).lookup("docker.io/library/app") == Credentials("me", "pw")
    assert DockerConfig(str(path)).erase("docker.io")
    assert not DockerConfig(str(path)).erase("docker.io")
    assert json.loads(path.read_text()) == {"auths": {}}
    assert os.listdir(path.parent) == ["config.json"]


def test_store_keeps_everything_else_and_tightens_the_mode(tmp_path: Path) -> None:
    before = {"auths": {"a.example": pair("a", "b")}, "proxies": {"default": {}}, "detachKeys": "ctrl-e"}
    found = config(tmp_path, before)
    os.chmod(found.path, 0o644)
    found.store("b.example", Credentials("c", "d", identity_token="t"))
    after = json.loads(Path(found.path).read_text())
    entry = pair("c", "d") | {"identitytoken": "t"}
    assert after == before | {"auths": {"a.example": pair("a", "b"), "b.example": entry}}
    assert stat.S_IMODE(os.stat(found.path).st_mode) == 0o600


def test_store_follows_a_link_to_the_real_file(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    (tmp_path / "config.json").symlink_to(real)
    DockerConfig(str(tmp_path / "config.json")).store("a.example", Credentials("a", "b"))
    assert "a.example" in real.read_text()
    assert (tmp_path / "config.json").is_symlink()


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    found = config(tmp_path, "{")
    with pytest.raises(StoreError, match="not valid JSON"):
        found.store("a.example", Credentials("a", "b"))
    assert Path(found.path).read_text() == "{"


def test_store_and_erase_by_helper(tmp_path: Path, helper: Path) -> None:
    found = config(tmp_path, {"credsStore": "test"})
    assert found.store("known.example", Credentials("a", "b")) == "test"
    assert found.erase("known.example")
    assert helper.read_text().splitlines() == [
        'store {"ServerURL": "known.example", "Username": "a", "Secret": "b"}', "erase known.example"
    ]  # fmt: skip
    assert json.loads(Path(found.path).read_text()) == {"credsStore": "test"}
