"""When a container is started again, as docker writes it.

    policy = "no" | "always" | "unless-stopped" | "on-failure" [ ":" count ]

Source: docker/cli opts, moby daemon/container/validate.go and restartmanager. Errors are ValueError.
"""

from __future__ import annotations

from ..words.value import Value

POLICIES = ("no", "always", "on-failure", "unless-stopped")
FIRST_DELAY, LONGEST_DELAY = 0.1, 60.0
"""Seconds until a container is started again: they double, from one to the other."""
SETTLED = 10.0
"""Seconds that a program must have run for the delay to begin anew."""


class RestartPolicy(Value):
    """`maximum` restarts after failures, 0 for any number."""

    name: str = "no"
    maximum: int = 0

    def wants(self, code: int, count: int) -> bool:
        """Whether a program that ended by itself with `code` is started again, after `count` times."""
        if self.name == "on-failure":
            return code != 0 and (not self.maximum or count < self.maximum)
        return self.name in ("always", "unless-stopped")

    def __str__(self) -> str:
        return f"{self.name}:{self.maximum}" if self.maximum else self.name


def parse_restart(text: str) -> RestartPolicy:
    """The policy that `text` says; "" is no."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    name = name or "no"
    if name not in POLICIES:
        listed = ", ".join(f"'{one}'" for one in POLICIES[:-1])
        raise ValueError(
            f"invalid restart policy: unknown policy '{name}'; use one of {listed}, or '{POLICIES[-1]}'"
        )
    digits = count[1:] if count[:1] in ("+", "-") else count
    if count and not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    maximum = int(count or "0")
    if maximum and name != "on-failure":
        raise ValueError("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if not 0 <= maximum < 1 << 31:
        raise ValueError("invalid restart policy: maximum retry count cannot be negative")
    return RestartPolicy(name, maximum)


def next_delay(before: float, ran: float) -> float:
    """Seconds to wait after a run of `ran` seconds, when it was `before` the last time, 0.0 for never."""
    if ran >= SETTLED or not before:
        return FIRST_DELAY
    return min(before * 2, LONGEST_DELAY)
