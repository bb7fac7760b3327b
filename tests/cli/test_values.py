"""Values of options that have a grammar of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.cli import build, registry, replication, run, values
from nacre.cli.options import Command, parse
from nacre.words.errors import NacreError, UsageError


def test_every_reader_is_used() -> None:
    kinds = {option.kind for command in (run, build) for option in command.COMMAND.options}
    assert set(values.READERS) <= kinds
    for option in run.COMMAND.options:
        assert option.hidden or "Ignored" not in option.help


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("ulimit", "nofile=1024", ("nofile", 1024, 1024)),
        ("ulimit", "core=0:-1", ("core", 0, -1)),
        ("ulimit", "nice=-1", ("nice", -1, -1)),
        ("attach", "STDOUT", "stdout"),
        ("expose", "80", "80/tcp"),
        ("expose", "8000-8010/UDP", "8000-8010/udp"),
        ("publish", "8080:80/tcp", "8080:80/tcp"),
        ("publish", "127.0.0.1::80", "127.0.0.1::80"),
        ("publish", "[::1]:1-2:3-4", "[::1]:1-2:3-4"),
        ("publish", "80", "80"),
        ("address", " 10.0.0.1 ", "10.0.0.1"),
        ("address", "::1", "::1"),
        ("host", "db:10.0.0.9", "db:10.0.0.9"),
        ("host", "db=[::1]", "db=[::1]"),
        ("host", "up:host-gateway", "up:host-gateway"),
        ("search", "a.example", "a.example"),
        ("search", ".", "."),
        ("duration", "1m30s", 90 * 10**9),
        ("duration", "1.5h", 5400 * 10**9),
        ("duration", "0", 0),
        ("duration", "20ms", 20 * 10**6),
        ("pair", "a=b=c", ("a", "b=c")),
        ("label", "a", "a"),
        ("label", "a=b c", "a=b c"),
        ("cache", "registry.test/cache:1", "registry.test/cache:1"),
        ("cache", "type=gha,scope=x", "type=gha,scope=x"),
        ("device-rule", "c 1:* rwm", "c 1:* rwm"),
        ("cpus", "1.5", 1.5),
        ("cpus", ".000000001", 1e-9),
        ("swap", "-1", -1),
        ("swap", "1g", 1 << 30),
        ("device-rate", "/dev/sda:1mb", ("/dev/sda", 1 << 20)),
        ("device-count", "/dev/sda:1000", ("/dev/sda", 1000)),
        ("device-weight", "/dev/sda:10", ("/dev/sda", 10)),
        ("detach-keys", "ctrl-p,ctrl-q", "ctrl-p,ctrl-q"),
        ("oom-score", "-1000", -1000),
        ("weight", "500", 500),
        ("pid", "host", "host"),
        ("pid", "container:web", "container:web"),
        ("ipc", "shareable", "shareable"),
        ("userns", "host", "host"),
        ("userns", "keep-id:uid=1000,gid=100", "keep-id:uid=1000,gid=100"),
        ("userns", "auto:size=70000", "auto:size=70000"),
        ("isolation", "default", "default"),
        ("restart", "on-failure:3", "on-failure:3"),
    ],
)
def test_values(kind: str, text: str, value: object) -> None:
    assert values.READERS[kind](text) == value


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        ("--add-host", "db", 'bad format for add-host: "db"'),
        ("--add-host", "a:b=1.2.3.4", 'bad format for add-host: "a:b=1.2.3.4"'),
        ("--add-host", "db:ten", 'invalid IP address in add-host: "ten"'),
        ("--ulimit", "nofile", "invalid ulimit argument: nofile"),
        ("--ulimit", "x=1", "invalid ulimit type: x"),
        ("--ulimit", "nofile=2:1", "must be less than or equal to hard limit: 2 > 1"),
        ("--ulimit", "nofile=1:2:3", "invalid ulimit argument"),
        ("--ulimit", "nofile=a", "not a whole number"),
        ("-a", "foo", "valid streams are STDIN, STDOUT and STDERR"),
        ("--expose", "abc", "invalid range format for --expose: abc"),
        ("--expose", "9-8", "invalid range"),
        ("--expose", "80/x", "invalid proto: x"),
        ("-p", "abc:def", "invalid containerPort: def"),
        ("-p", "x:80", "invalid hostPort: x"),
        ("-p", "1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("-p", "80:99999", "invalid containerPort: 99999"),
        ("-p", ":", "no port specified"),
        ("-m", "lots", "invalid size: 'lots'"),
        ("-m", "-1", "invalid size: '-1'"),
        ("--memory-swap", "-2", "invalid size: '-2'"),
        ("--cpus", "some", "failed to parse some as a rational number"),
        ("--cpus", ".", "failed to parse . as a rational number"),
        ("--cpus", "0.0000000001", "value is too precise"),
        ("--blkio-weight", "70000", "out of range"),
        ("--blkio-weight-device", "/dev/x:1", "invalid weight for device: /dev/x:1"),
        ("--device-read-bps", "/dev/x:x", "invalid rate for device: /dev/x:x. The correct format is"),
        ("--device-read-iops", "/dev/x:1mb", "Number must be a positive integer"),
        ("--dns", "x", "IP address is not correctly formatted: x"),
        ("--dns-search", "a b", "not a valid domain"),
        ("--health-interval", "1x", "invalid duration '1x'"),
        ("--health-timeout", "1us", "less than 1ms"),
        ("--health-timeout", "", "invalid duration ''"),
        ("--annotation", "a", "it must be KEY=VALUE"),
        ("--device-cgroup-rule", "c 1:3", "invalid device cgroup format"),
        ("--device-cgroup-rule", "c 1:3 rx", "invalid device cgroup format"),
        ("--device-read-bps", "sda:1", "bad format for device path: sda:1"),
        ("--detach-keys", "ctrl-pp", "Unknown character"),
        ("--oom-score-adj", "1001", "not in the range"),
        ("--pid", "foo", "expected one of host, container:NAME"),
        ("--ipc", "container:", "expected one of"),
        ("--uts", "private", "expected one of host"),
        ("--userns", "container:x", "expected one of host"),
        ("--userns", "host:1", "expected one of host"),
        ("--restart", "sometimes", "unknown policy 'sometimes'"),
        ("--restart", "always:3", "maximum retry count can only be used with"),
        ("--stop-timeout", "1.5", "not a whole number"),
        ("--device-cgroup-rule", "c ²:1 rwm", "invalid device cgroup format"),
        ("--label", "=x", "invalid label '=x': empty name"),
        ("--label", "a b=x", "label 'a b' contains whitespaces"),
    ],
)
def test_values_that_make_no_sense(flag: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(run.COMMAND, [flag, text, "image"], "run")
    assert caught.value.message.startswith(f'invalid argument "{text}" for "')
    assert said in caught.value.message
    assert caught.value.exit_code == 125


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        ("--label", "=x", "empty name"),
        ("--cache-from", "type=", "type required form"),
        ("--cache-to", "dest=x", "type required form"),
        ("--cache-to", "type=local,x", "invalid value x"),
        ("--memory", "lots", "invalid size"),
        ("--ulimit", "lots", "invalid ulimit argument"),
    ],
)
def test_values_of_a_build_that_make_no_sense(flag: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(build.COMMAND, [flag, text, "."], "build")


@pytest.mark.parametrize("command", [registry.CHECK, replication.ADD])
def test_a_rate_that_is_none(command: Command) -> None:
    with pytest.raises(UsageError, match='invalid argument "fast" for "--rate" flag: invalid size'):
        parse(command, ["--rate", "fast"], "registry")


READERS = (
    values.ulimit, values.attach, values.expose, values.publish, values.mac, values.network, values.address,
    values.search_domain, values.duration, values.health_time, values.pair, values.label, values.device_rule,
    values.cpus, values.swap, values.weight, values.device_weight, values.device_rate, values.device_count,
    values.detach_keys, values.restart, values.userns,
)  # fmt: skip
NASTY = (
    "",
    "-1",
    "1e9",
    "nan",
    "١",
    "9" * 30,
    "4294967296",
    "a\nb",
    "a:b:c:d",
    "0-0",
    "/dev/x:1",
    "::1",
    "\udcff",
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: str(reader.__name__))
@given(st.text(max_size=40) | st.sampled_from(NASTY))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_value_or_one_sentence(reader: Callable[[str], object], text: str) -> None:
    """What limits, ports, addresses and the like are read by raises nothing else."""
    try:
        reader(text)
    except (ValueError, NacreError):
        return
