"""The configuration of a registry: what is taken, what wins, and where errors say that something is wrong."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from nacre.grammars.serving import ConfigSources, read_config, reading, table, writing, written
from nacre.grammars.serving.kind import NUMBER, PATH, SECRET, TEXTS, Secret, choice
from nacre.grammars.serving.table import ConfigKey, ConfigTable, Occurrence
from nacre.words.errors import UsageError
from nacre.words.rules import GarbageRules, RegistryRules, ServingConfig
from nacre.words.value import Value


class Database(Value):
    url: str
    password: str = ""
    ca: str = ""


class Hook(Value):
    url: str
    events: tuple[str, ...] = ()


class Upstream(Value):
    name: str
    trust: str = "digest"
    retries: int = 3


class Tried(ServingConfig):
    database: Database | None = None
    hooks: tuple[Hook, ...] = ()
    upstreams: tuple[Upstream, ...] = ()


HOOK = (ConfigKey("url", ""), ConfigKey("events", "", TEXTS))
UPSTREAM = (ConfigKey("trust", "", choice("digest", "tag")), ConfigKey("retries", "", NUMBER))
DATABASE = (ConfigKey("url", ""), ConfigKey("password", "", SECRET), ConfigKey("ca", "", PATH))
TRIED = (
    ConfigTable("database", ("database",), Database, "", DATABASE),
    ConfigTable("hooks", ("hooks",), Hook, "", HOOK, Occurrence.LISTED),
    ConfigTable("upstreams", ("upstreams",), Upstream, "", UPSTREAM, Occurrence.NAMED),
)


def read(text: str = "", **variables: str) -> Any:
    return read_config(ConfigSources(text, "/etc/r.toml", variables), lambda path: f"of {path}\n")


def refused(text: str, **variables: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        read(text, **variables)
    return caught.value.message, caught.value.hint


@pytest.fixture
def more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tables: a part that is added works like these."""
    for module in (reading, writing):
        monkeypatch.setattr(module, "TABLES", TRIED)
    for module in (reading, table):
        monkeypatch.setattr(module, "ServingConfig", Tried)


def test_nothing_has_to_be_said() -> None:
    assert read() == ServingConfig()


def test_each_kind_of_value() -> None:
    config = read(
        '[server]\naddr = "[::1]:0"\nroot = "here"\n[limits]\nblob-size = "2GiB"\nchunk-size = 5\n'
        'idle-timeout = 2.5\n[garbage]\ngrace = "90m"\nuntagged-age = "7d"\n[protocol]\nsparse = true\n'
        "[tls]\nplain-http = true\n"
    )
    assert (config.address, config.folder) == ("[::1]:0", "/etc/here")
    limits = config.rules.limits
    assert (limits.blob, limits.chunk, limits.patience, limits.uploads) == (2 << 30, 5, 2.5, 10_000)
    assert config.rules == RegistryRules(
        sparse=True, garbage=GarbageRules(3600, 5400, 7 * 86400), plain_http=True, limits=limits
    )


def test_flags_win_over_variables_and_those_over_the_file() -> None:
    sources = ConfigSources(
        '[garbage]\ninterval = "1m"\ngrace = "1m"\nuntagged-age = "1m"\n', "f",
        {"NACRE_SERVE_GARBAGE_GRACE": "2m", "NACRE_SERVE_GARBAGE_UNTAGGED_AGE": "2m", "NACRE_ROOT": "x"},
        {"untagged_age": "3m", "format": "of another option"},
    )  # fmt: skip
    assert read_config(sources, str).rules.garbage == GarbageRules(60, 120, 180)


WRONG = [
    ("[garbag]", "/etc/r.toml:1:1: unknown table [garbag]", "did you mean garbage?"),
    ("\nsparse = true", "/etc/r.toml:2:1: unknown key 'sparse'", "there are server, "),
    ("[garbage]\n  untaged_age = 1", "/etc/r.toml:2:3: unknown key 'untaged_age' in [garbage]",
     "did you mean untagged-age?"),
    ("[garbage]\ngrace = true", "/etc/r.toml:2:1: grace is true, expected a duration like", ""),
    ("[garbage]\ngrace = -1", "/etc/r.toml:2:1: grace is -1, expected a duration like", ""),
    ("[protocol]\nsparse = 1", "/etc/r.toml:2:1: sparse is 1, expected true or false", ""),
    ("[limits]\nuploads = nan", "/etc/r.toml:2:1: uploads is nan, expected a whole number", ""),
    ("[limits]\nconnections = 0", "/etc/r.toml:1:1: an address must be allowed one connection", ""),
    ('[server]\naddr = "here"', "/etc/r.toml:1:1: invalid address 'here': expected HOST:PORT", ""),
    ("[[garbage]]", "/etc/r.toml:1:1: garbage is no table of this kind", "write [garbage]"),
    ("garbage = 1", "/etc/r.toml:1:1: garbage is no table of this kind", "write [garbage]"),
    ('[tls]\ncert = "a"', "/etc/r.toml:1:1: TLS needs a certificate and its key", "give --tls-cert"),
    ('[tls]\nplain-http = true\ncert = "a"\nkey = "b"', "/etc/r.toml:1:1: --plain-http and --tls-cert", ""),
    ("[garbage\n", "/etc/r.toml:1:9: ", "this file is TOML"),
    ("[garbage]\ngrace = 1\ngrace = 2", "/etc/r.toml:3:", "this file is TOML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "hint"), WRONG)
def test_what_is_wrong_is_named_with_its_place(text: str, message: str, hint: str) -> None:
    said = refused(text)
    assert said[0].startswith(message)
    assert said[1].startswith(hint)


def test_variables_are_checked_too() -> None:
    assert refused("", NACRE_SERVE_LIMITS_UPLOADS="x")[0].startswith("NACRE_SERVE_LIMITS_UPLOADS is 'x', exp")
    assert refused("", NACRE_SERVE_LIMIT_UPLOADS="1") == (
        "unknown variable NACRE_SERVE_LIMIT_UPLOADS",
        "did you mean NACRE_SERVE_LIMITS_UPLOADS?",
    )
    with pytest.raises(UsageError, match=r"^--gc-grace is 'x', expected a duration"):
        read_config(ConfigSources(flags={"gc_grace": "x"}), str)


@pytest.mark.usefixtures("more")
def test_secrets_come_from_files_and_are_never_shown() -> None:
    config = read('[database]\nurl = "u"\npassword-file = "p"')
    assert config.database == Database("u", Secret("of /etc/p"))
    assert "of /etc" not in repr(config) + written(config)
    config = read(NACRE_SERVE_DATABASE_URL="u", NACRE_SERVE_DATABASE_PASSWORD_FILE="p")
    assert config.database.password == "of p"
    config = read('[database]\nurl = "u"\npassword = "a"', NACRE_SERVE_DATABASE_PASSWORD="b")
    assert config.database.password == "b"
    assert "secret" not in refused("[database]\nurl = 'u'\npassword = ['secret']")[0]
    assert refused("[database]\nurl = 'u'\npassword = 'a'\npassword-file = 'b'")[0] == (
        "/etc/r.toml:4:1: both password and password-file are set"
    )


@pytest.mark.usefixtures("more")
def test_tables_in_a_list_and_by_name() -> None:
    text = '[[hooks]]\nurl = "a"\n[[hooks]]\nurl = "b"\nevents = ["push"]\n'
    text += '[upstreams."docker.io"]\nretries = 1\n'
    config = read(text)
    assert config.hooks == (Hook("a"), Hook("b", ("push",)))
    assert config.upstreams == (Upstream("docker.io", retries=1),)
    assert refused(text + "x = 1")[0] == "/etc/r.toml:8:1: unknown key 'x' in [upstreams.\"NAME\"]"
    assert refused(text.replace("events", "event"))[0] == "/etc/r.toml:5:1: unknown key 'event' in [[hooks]]"
    assert refused("[[hooks]]")[0] == "/etc/r.toml:1:1: [[hooks]] needs url"
    assert refused("[database]")[0] == "/etc/r.toml:1:1: [database] needs url"
    assert refused("[hooks]")[1] == "write [[hooks]]"
    assert refused("upstreams = {a = 1}")[0] == "/etc/r.toml:1:1: upstreams holds no table"
    assert refused('[upstreams.a]\ntrust = "x"')[0] == (
        "/etc/r.toml:2:1: trust is 'x', expected 'digest' or 'tag'"
    )


@pytest.mark.usefixtures("more")
def test_what_is_written_is_taken_again() -> None:
    text = '[[hooks]]\nurl = "a\\"b"\nevents = ["p", "d"]\n[upstreams."docker.io"]\nretries = 1\n'
    config = read(text)
    assert read(written(config)) == config
    assert "database" not in written(config)


def test_the_defaults_are_written() -> None:
    shown = tomllib.loads(written(read()))
    assert shown["limits"]["blob-size"] == "1TiB"
    assert shown["limits"]["connections"] == 256
    assert shown["garbage"] == {"interval": "1h", "grace": "1d", "untagged-age": "30d"}
    assert read(written(read())) == ServingConfig()
