"""The first administrator: by a link that is printed once, works once and ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("jinja2")
from pagekit import Site

from nacre.engine.accounts import RegistryAccounts
from nacre.stores.accounts.administration import Administration
from nacre.words.errors import Conflict, NotFound
from nacre.words.rules import AccessRules, RegistryRules

SECRET = "correct horse"


@pytest.fixture
def site(folder: str, accounts: RegistryAccounts) -> Iterator[Site]:
    with Site(folder, rules=RegistryRules(access=AccessRules(accounts=True))) as found:
        yield found


def fields(secret: str, name: str = "alice", password: str = SECRET) -> dict[str, str]:
    return {"invitation": secret, "name": name, "password": password, "repeated": password}


def test_an_invitation_works_once(site: Site, accounts: RegistryAccounts) -> None:
    secret, other = accounts.invite(), accounts.invite()
    assert site.get("/v2/").status == 401
    assert site.get("/v2/a/tags/list").status == 401
    assert f'value="{secret}"' in site.get(f"/-/setup?token={secret}").text
    for wrong, said in (
        (fields(secret + "x"), "This invitation is not valid"),
        (fields(secret, "A B"), "Invalid name"),
        (fields(secret, password="short"), "at least 8 characters"),
        (fields(secret, password="x" * 4097), "at most 4096 characters"),
        (fields(secret) | {"repeated": "another one"}, "The passwords differ"),
    ):
        answer = site.post("/-/setup", wrong)
        assert answer.status == 400
        assert said in answer.words
    assert site.post("/-/setup", fields(secret), origin="https://evil.example").status == 403
    assert accounts.users() == []
    answer = site.post("/-/setup", fields(secret))
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    site.cookie = answer.headers["set-cookie"].partition(";")[0]
    assert "alice" in site.get("/").text
    site.cookie = ""
    for again in (secret, other):
        assert site.post("/-/setup", fields(again, "mallory")).status == 404
    assert site.get(f"/-/setup?token={secret}").status == 404
    (user,) = accounts.users()
    assert (user.name, user.administrator) == ("alice", True)
    assert accounts.invite() == ""


def test_guessing_is_slow(site: Site, accounts: RegistryAccounts) -> None:
    secret = accounts.invite()
    assert [site.post("/-/setup", fields(str(n))).status for n in range(11)] == [400] * 10 + [429]
    assert site.post("/-/setup", fields(secret)).status == 429


def test_an_invitation_ends(folder: str, accounts: RegistryAccounts) -> None:
    good = accounts.invite()
    with Administration(f"{folder}/registry.db", "test") as administration:
        accept, over = administration.invitations.accept, administration.invitations.issue(-1.0)
        with pytest.raises(NotFound, match="not valid, or not any more"):
            accept(over, "a", "hash")
        administration.users.add("root", "hash", administrator=True)
        with pytest.raises(Conflict, match="there is an administrator already"):
            accept(good, "a", "hash")


def test_serve_prints_it_once(folder: str, accounts: RegistryAccounts) -> None:
    """Only where accounts are wanted and there are none; only that start waits for SQLAlchemy."""
    names = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    for options, links in (((), 0), (("--accounts",), 1), (("--accounts",), 0)):
        command = [
            sys.executable,
            "-m",
            "nacre",
            "registry",
            "serve",
            "--addr",
            "127.0.0.1:0",
            "--root",
            folder,
        ]
        with subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=names
        ) as serving:
            assert serving.stdout
            assert serving.stderr
            assert b"serving on" in serving.stdout.readline()
            serving.send_signal(signal.SIGTERM)
            out, err = serving.stdout.read(), serving.stderr.read()
        assert serving.returncode == 0, err
        found = re.findall(r"http://127\.0\.0\.1:\d+/-/setup\?token=\S{40,}", out.decode())
        assert len(found) == links
        assert (b"sqlalchemy" in err) == bool(links)
        if links:
            accounts.add_user("alice", SECRET, admin=True)
