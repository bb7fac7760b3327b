"""`nacre registry user`, `team`, `grant`, `token`, and a registry that asks who one is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")

from nacre.engine.accounts import RegistryAccounts
from nacre.services.server import RunningServer
from nacre.words.errors import Conflict, NacreError, Unsupported


def test_a_registry_of_a_team(nacre: Any, tmp_path: Path, folder: str, accounts: RegistryAccounts) -> None:
    """From the first account to a push, a pull without a login, and a token that may not push."""

    def login(secret: str, **more: Any) -> Any:
        return nacre("login", "-u", "bob", "--password-stdin", address, input=secret.encode(), **more)

    first = "registry", "user", "add", "alice", "--admin", "--password-stdin", "--root", folder
    nacre(*first, input=b"long enough\n")
    accounts.add_user("bob", "another one")
    accounts.add_team("crew")
    accounts.join("crew", ["bob"])
    accounts.grant("shop", "write", team="crew")
    accounts.set_namespace("shop", public=True)
    token = nacre("registry", "token", "add", "bob", "--role", "read", "--root", folder).out.strip()
    nacre.env["DOCKER_CONFIG"] = str(tmp_path / "docker")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\nCOPY Dockerfile /\n")
    with RunningServer(folder) as serving:
        address = serving.url.removeprefix("http://")
        image = f"{address}/shop/app:v1"
        nacre("build", "-q", "-t", image, "-t", f"{address}/shop/app:v2", str(tmp_path))
        assert "nacre login" in nacre("push", image, check=False).err
        assert login("wrong", check=False).code == 1
        login("another one")
        nacre("push", image)
        nacre("logout", address)
        nacre("pull", image)
        login(token)
        assert "denied" in nacre("push", f"{address}/shop/app:v2", check=False).err
    assert [user.name for user in accounts.users()] == ["alice", "bob"]
    assert json.loads(nacre("registry", "grants", "--format", "json", "--root", folder).out)["Team"] == "crew"


@pytest.mark.parametrize(
    ("secret", "said"), [(b"", "is empty"), (b"x" * 7, "at least 8"), (b"x" * 4097 + b"\r\n", "at most 4096")]
)
def test_a_password_is_not_cut_short(nacre: Any, folder: str, secret: bytes, said: str) -> None:
    words = "registry", "user", "add", "a", "--admin", "--password-stdin", "--root", folder
    assert said in nacre(*words, input=secret, check=False).err
    assert nacre(*words, input=b"x" * 4096 + b"\r\n").out == "a\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["user", "add", "a"], "cannot ask for a password: the input is not a terminal"),
        (["user", "add", "a", "--password-stdin"], "a password has at least 8 characters"),
        (["user", "update", "a"], "nothing to change"),
        (["token", "rm", "x"], "invalid token 'x'"),
        (["namespace", "set", "a"], "nothing to change"),
    ],
)
def test_bad_input(nacre: Any, folder: str, words: list[str], said: str) -> None:
    done = nacre("registry", *words, "--root", folder, input=b"short", check=False)
    assert done.code == 1
    assert said in done.err
    assert len(done.err.splitlines()) <= 2


def test_what_makes_no_sense(accounts: RegistryAccounts, folder: str) -> None:
    for act, said in (
        (lambda: accounts.add_user("a", "x" * 8), "the first user must be an administrator"),
        (lambda: accounts.grant("a", "most", user="b"), "unknown role 'most'"),
        (lambda: accounts.grant("A", "read", user="b"), "invalid namespace 'A'"),
        (lambda: accounts.grant("a", "read"), "name either a user or a team"),
        (lambda: accounts.add_token("a", expires="soon"), "invalid duration 'soon'"),
        (lambda: accounts.join("a", ["b"]), "no such team: a"),
    ):
        with pytest.raises(NacreError, match=said):
            act()


def test_a_store_is_no_registry(tmp_path: Path) -> None:
    (tmp_path / "nacre.db").touch()
    with (
        RegistryAccounts(str(tmp_path), "") as accounts,
        pytest.raises(Conflict, match="holds the images of a nacre store, not a registry"),
    ):
        accounts.users()


def test_without_the_libraries(accounts: RegistryAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("nacre.stores.accounts.adm")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(Unsupported, match="accounts of a registry need sqlalchemy") as caught:
        accounts.users()
    assert caught.value.hint == "pip install nacre-oci[registry]"
