"""Settings of the registry client: files read, mistakes told with their line, and what follows for a name."""

from __future__ import annotations

import json

import pytest

from nacre.grammars.config import (
    MirrorSettings,
    RegistrySection,
    RegistryTarget,
    Settings,
    from_variables,
)
from nacre.grammars.config.foreign import parse_daemon, parse_registries
from nacre.grammars.config.toml import parse_config
from nacre.words.errors import RegistryError, UsageError

WHOLE = """
# everything there is
concurrency = 8
ranges = 4
rate = "20MB"
retries = 7
connect-timeout = 5
stall-timeout = "1m"
proxy = "http://proxy.example:3128"
no-proxy = "internal.example"
ca = "~/ca.pem"

[registry."docker.io"]
mirrors = ["mirror.example:5000", "http://cache.example/hub"]

[registry."ghcr.io"]
insecure = true
plain-http = false
cert = "/etc/c.cert"
key = "/etc/c.key"
rate = 500000

[registry."ghcr.io/team"]
location = "inner.example/copies"

[registry."*.evil.example"]
blocked = true
"""


def test_everything() -> None:
    found = parse_config(WHOLE, "c.toml")
    assert (found.concurrency, found.ranges, found.rate, found.retries) == (8, 4, 20_000_000, 7)
    assert (found.connect_timeout, found.stall_timeout) == (5.0, 60.0)
    assert (found.proxy, found.no_proxy, found.ca) == (
        "http://proxy.example:3128",
        "internal.example",
        "~/ca.pem",
    )
    route = found.route("docker.io", "library/app")
    assert route.origin == RegistryTarget("docker.io", "library/app")
    assert route.mirrors == (
        RegistryTarget("mirror.example:5000", "library/app"),
        RegistryTarget("cache.example", "hub/library/app"),
    )
    assert found.host("cache.example").plain
    assert not found.host("mirror.example:5000").plain
    assert found.host("ghcr.io").replace(rate=0, cert="", key="") == found.host("none").replace(insecure=True)
    assert (found.host("ghcr.io").cert, found.host("ghcr.io").rate) == ("/etc/c.cert", 500_000)
    assert found.route("ghcr.io", "team/app").origin == RegistryTarget("inner.example", "copies/app")
    assert found.route("ghcr.io", "teams/app").origin == RegistryTarget("ghcr.io", "teams/app")
    with pytest.raises(RegistryError, match=r"blocked by c\.toml:26"):
        found.route("a.evil.example:80", "x")
    assert found.route("evil.example", "x").origin.host == "evil.example"


def test_nothing() -> None:
    assert parse_config("", "c.toml") == Settings() == from_variables({})
    assert Settings().route("a.example", "b").mirrors == ()
    assert not Settings().host("a.example").insecure


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("concurency = 3", "c:1", "did you mean concurrency?"),
        ("x = 1", "c:1", "valid keys are"),
        ("\n[registry.'a.b']\nmirors = []", "c:3", "did you mean mirrors?"),
        ("[registry.'a.b']\nplain_http = true", "c:2", "did you mean plain-http?"),
        ("concurrency = 0", "c:1", "a whole number from 1 to 64"),
        ("concurrency = 'four'", "c:1", "a whole number"),
        ("rate = -1", "c:1", "a number of bytes"),
        ("rate = '5 parsecs'", "c:1", "a number of bytes"),
        ("\n\nstall-timeout = 0", "c:3", "seconds"),
        ("stall-timeout = '9 years'", "c:1", "seconds"),
        ("retries = true", "c:1", "a whole number"),
        ("[registry.'a.b']\n\nblocked = 'yes please'", "c:3", "true or false"),
        ("[registry.'a.b']\nmirrors = ['x y']", "c:2", "a place like"),
        ("[registry.'a.b']\nmirrors = 3", "c:2", "a list of places"),
        ("[registry.'a.b'\n", "c:1", "TOML"),
        ("a = ", "c:1", "TOML"),
        ("registry = 3", "c:1", 'write [registry."HOST"]'),
        ("[registry]\n'a.b' = 3", "c:2", "must be a table"),
        ("[registry.ghcr.io]\nrate = 1", "c:1", 'quote names with dots'),
        ("[registry.'a b']\n", "c:1", "not a registry"),
        ("[registry.'a.b/c']\ninsecure = true", "c:2", 'set it for the host: [registry."a.b"]'),
    ],
)  # fmt: skip
def test_mistakes(text: str, where: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(text, "c")
    assert caught.value.message.startswith(where + ":")
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_later_says_more() -> None:
    first = parse_config("rate = 1\n[registry.'a.b']\nmirrors = ['m']\nrate = 5", "1")
    second = parse_config("retries = 2\n[registry.'a.b']\nrate = 6\n[registry.'c.d']\nblocked = true", "2")
    both = second.over(first)
    assert (both.rate, both.retries) == (1, 2)
    assert both.host("a.b").rate == 6
    assert both.route("a.b", "x").mirrors == (RegistryTarget("m", "x"),)
    unblocked = parse_config("[registry.'c.d']\nblocked = false", "3").over(both)
    assert unblocked.route("c.d", "x").origin.host == "c.d"


def test_variables() -> None:
    found = from_variables({
        "NACRE_RATE": "1MiB", "NACRE_RETRIES": "3", "NACRE_STALL_TIMEOUT": "90s", "NACRE_PROXY": "direct",
        "NACRE_REGISTRY_MIRRORS": "docker.io=a.example,http://b.example; ghcr.io = c.example",
        "NACRE_REGISTRY_INSECURE": "a.example=true", "NACRE_ROOT": "/not/ours",
    })  # fmt: skip
    assert (found.rate, found.retries, found.stall_timeout, found.proxy) == (1 << 20, 3, 90.0, "direct")
    assert [m.host for m in found.route("docker.io", "x").mirrors] == ["a.example", "b.example"]
    assert [m.host for m in found.route("ghcr.io", "x").mirrors] == ["c.example"]
    assert found.host("a.example").insecure


@pytest.mark.parametrize(
    "variable",
    [("NACRE_RATE", "fast"), ("NACRE_REGISTRY_MIRRORS", "docker.io"), ("NACRE_REGISTRY_RATE", "a b=1")],
)
def test_wrong_variables(variable: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=variable[0]):
        from_variables(dict([variable]))


CONTAINERS = """
unqualified-search-registries = ["quay.io"]
short-name-mode = "enforcing"
[[registry]]
prefix = "example.com/foo"
location = "internal.example:5000/bar"
insecure = true
[[registry]]
location = "docker.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "first.example"
[[registry.mirror]]
location = "second.example/hub"
insecure = true
[[registry]]
prefix = "*.bad.example"
blocked = true
"""


def test_registries_conf() -> None:
    found = parse_registries(CONTAINERS, "r.conf")
    assert found.route("example.com", "foo/app").origin == RegistryTarget("internal.example:5000", "bar/app")
    assert found.host("internal.example:5000").insecure
    assert not found.host("example.com").insecure
    assert found.route("docker.io", "library/x").mirrors == (
        RegistryTarget("first.example", "library/x", "digest-only"),
        RegistryTarget("second.example", "hub/library/x", "digest-only"),
    )
    assert found.host("second.example").insecure
    with pytest.raises(RegistryError, match="blocked"):
        found.route("a.bad.example", "x")


def test_registries_conf_of_old_and_broken_ones() -> None:
    assert parse_registries('[registries.search]\nregistries = ["docker.io"]', "r") == Settings()
    assert parse_registries("[registry]\nx = 1", "r") == Settings()
    for text in ("[[registry]]\nlocation = 'a.b'\nblocked = 7", "[[registry]]\ninsecure = true", "[[["):
        with pytest.raises(UsageError, match=r"^r:\d+: "):
            parse_registries(text, "r")


def test_daemon_json() -> None:
    text = json.dumps({
        "registry-mirrors": ["https://mirror.example/", "http://10.0.0.1:5000"], "debug": True,
        "insecure-registries": ["plain.example:5000", "10.0.0.0/8", "fd00::/8"],
    })  # fmt: skip
    found = parse_daemon(text, "d.json")
    assert [m.host for m in found.route("docker.io", "x").mirrors] == ["mirror.example", "10.0.0.1:5000"]
    assert found.route("ghcr.io", "x").mirrors == ()
    assert found.host("plain.example:5000").insecure
    assert found.host("10.1.2.3:80").insecure
    assert found.host("[fd00::1]").insecure
    assert not found.host("11.1.2.3").insecure
    assert parse_daemon("", "d") == parse_daemon("{}", "d") == Settings()
    for broken in ("{", "[]", '{"registry-mirrors": [3]}', '{"insecure-registries": 3}'):
        with pytest.raises(UsageError, match=r"^d: "):
            parse_daemon(broken, "d")


def test_the_longest_section_counts() -> None:
    sections = tuple(
        RegistrySection(name, location=f"{at}.example") for at, name in enumerate(("a.b", "a.b/c", "*.b"))
    )
    found = Settings(sections)
    assert found.route("a.b", "x").origin == RegistryTarget("0.example", "x")
    assert found.route("a.b", "c/d").origin == RegistryTarget("1.example", "d")
    assert found.route("z.b", "c/d").origin == RegistryTarget("2.example", "c/d")


def test_mirror_places() -> None:
    assert MirrorSettings.parse("http://a.example/x/") == MirrorSettings("a.example/x", True)
    assert MirrorSettings.parse("https://a.example") == MirrorSettings("a.example")
