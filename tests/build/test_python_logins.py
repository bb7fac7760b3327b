"""Who the user is at an index: URLs, variables of uv and Poetry, netrc, keyring."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from nacre.grammars.python.pipconfig import keyring_provider, poetry_logins
from nacre.services.build import PackageIndexes
from nacre.services.build.python.logins import IndexLogins, IndexSource
from nacre.words.errors import UsageError

URL = "https://packages.test/simple"


def sent(logins: IndexLogins, url: str = f"{URL}/demo/") -> str:
    """The user and password that go to a URL."""
    text = logins.headers(url).get("Authorization", "")
    return base64.b64decode(text.removeprefix("Basic ")).decode()


def keyring(folder: Path, answer: str) -> str:
    program = folder / "keyring"
    program.write_text(f'#!/bin/sh\necho "$*" >>{folder}/asked\n{answer}\n')
    program.chmod(0o755)
    return str(program)


def test_a_keyring_is_asked_for_the_password_of_a_user_once(tmp_path: Path) -> None:
    program = keyring(tmp_path, 'test "$2" = packages.test && echo secret')
    logins = IndexLogins([IndexSource(URL.replace("//", "//me@"))], PackageIndexes(keyring=program))
    assert [sent(logins), sent(logins)] == ["me:secret"] * 2
    assert (tmp_path / "asked").read_text() == f"get {URL} me\nget packages.test me\n"
    assert sent(logins, "https://other.test/") == ""


@pytest.mark.parametrize("answer", ["exit 1", "printf '\\377'", "true"])
def test_a_keyring_that_knows_nothing_changes_nothing(tmp_path: Path, answer: str) -> None:
    source = IndexSource(URL.replace("//", "//me@"))
    assert sent(IndexLogins([source], PackageIndexes(keyring=keyring(tmp_path, answer)))) == "me:"
    assert sent(IndexLogins([source], PackageIndexes(keyring=str(tmp_path / "none")))) == "me:"


def test_a_password_that_is_known_needs_no_keyring(tmp_path: Path) -> None:
    program = keyring(tmp_path, "echo other")
    logins = IndexLogins([IndexSource(URL.replace("//", "//me:mine@"))], PackageIndexes(keyring=program))
    assert sent(logins) == "me:mine"
    assert not (tmp_path / "asked").exists()
    odd = IndexLogins([IndexSource(URL.replace("//", "//-x@"))], PackageIndexes(keyring=program))
    assert sent(odd) == "-x:"


@pytest.mark.parametrize("start", ["UV_INDEX", "POETRY_HTTP_BASIC"])
def test_variables_name_the_user_of_an_index(start: str) -> None:
    variables = ((f"{start}_MY_OWN_USERNAME", "me"), (f"{start}_MY_OWN_PASSWORD", "secret"))
    indexes = PackageIndexes(variables=variables)
    assert sent(IndexLogins([IndexSource(URL, "my-own")], indexes)) == "me:secret"
    assert sent(IndexLogins([IndexSource(URL, "another")], indexes)) == ""


def test_poetry_keeps_users_in_a_file() -> None:
    text = '[http-basic.my-own]\nusername = "me"\npassword = "secret"\n'
    indexes = PackageIndexes(variables=tuple(poetry_logins(text, "auth.toml").items()))
    assert sent(IndexLogins([IndexSource(URL, "my-own")], indexes)) == "me:secret"
    for damaged in ("[http-basic", "http-basic = 1", "http-basic.a = 1"):
        with pytest.raises(UsageError, match=r"auth\.toml cannot be read"):
            poetry_logins(damaged, "auth.toml")


def test_a_netrc_may_be_a_secret() -> None:
    indexes = PackageIndexes(netrc="/none", netrc_data=b"machine packages.test login me password secret\n")
    assert sent(IndexLogins([IndexSource(URL)], indexes)) == "me:secret"
    with pytest.raises(UsageError, match="the secret netrc cannot be read"):
        IndexLogins([], PackageIndexes(netrc_data=b"machine\nnonsense here now\n"))


def test_what_pip_and_uv_are_told_of_the_keyring() -> None:
    texts = [("pip.conf", "[global]\nkeyring-provider = import\n")]
    assert keyring_provider({}, ()) == "auto"
    assert keyring_provider({}, texts) == "import"
    assert keyring_provider({"PIP_KEYRING_PROVIDER": "disabled"}, texts) == "disabled"
    assert keyring_provider({"UV_KEYRING_PROVIDER": "subprocess"}, ()) == "subprocess"
