"""Restart policies as docker reads them, and its delays."""

from __future__ import annotations

import pytest

from nacre.grammars.restart import RestartPolicy, next_delay, parse_restart


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", RestartPolicy()),
        ("no", RestartPolicy()),
        ("always", RestartPolicy("always")),
        ("always:0", RestartPolicy("always")),
        ("unless-stopped", RestartPolicy("unless-stopped")),
        ("on-failure", RestartPolicy("on-failure")),
        ("on-failure:", RestartPolicy("on-failure")),
        ("on-failure:3", RestartPolicy("on-failure", 3)),
        ("on-failure:+3", RestartPolicy("on-failure", 3)),
    ],
)
def test_a_policy(text: str, policy: RestartPolicy) -> None:
    assert parse_restart(text) == policy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo", "unknown policy 'foo'"),
        ("Always", "unknown policy 'Always'"),
        (":3", "no policy provided before colon"),
        ("always:3", "maximum retry count can only be used with 'on-failure'"),
        ("on-failure:x", "maximum retry count must be an integer"),
        ("on-failure:1.5", "maximum retry count must be an integer"),
        ("on-failure:-+1", "maximum retry count must be an integer"),
        ("on-failure:-1", "maximum retry count cannot be negative"),
        ("on-failure:²", "maximum retry count must be an integer"),
    ],
)
def test_a_bad_policy(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_restart(text)


def test_when_a_container_is_started_again() -> None:
    assert not RestartPolicy().wants(1, 0)
    assert RestartPolicy("always").wants(0, 9)
    failures = RestartPolicy("on-failure", 2)
    assert [failures.wants(1, count) for count in range(3)] == [True, True, False]
    assert not failures.wants(0, 0)


def test_delays_double_up_to_a_minute_and_begin_anew() -> None:
    delay, delays = 0.0, []
    for _ in range(12):
        delay = next_delay(delay, 1.0)
        delays.append(delay)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60.0
    assert next_delay(delay, 10.0) == 0.1
