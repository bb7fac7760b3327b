"""What is run in a container to see whether it is well, with docker's rules. Pure.

Source: OCI image-spec config.md, docker's Healthcheck; moby daemon/commit.go merge, daemon/health.go.
"""

from __future__ import annotations

from ...words.errors import UsageError
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...words.oci import ImageConfig

_BILLION = 10**9
_NUMBERS = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
_LONGEST = 1 << 33
_SHELL = ("/bin/sh", "-c")


class HealthOptions(Value):
    """What a user may say of it: a command for the shell, seconds, a count; what is empty is the image's.

    `disabled`: there is none, whatever the image says.
    """

    command: str = ""
    interval: float = 0.0
    timeout: float = 0.0
    start_period: float = 0.0
    start_interval: float = 0.0
    retries: int = 0
    disabled: bool = False

    def _check(self) -> None:
        """Raises UsageError, in docker's words."""
        wanted = self.command or self.retries or any(self._times)
        if self.disabled and wanted:
            raise UsageError("--no-healthcheck conflicts with the options of a health check")
        if self.retries < 0:
            raise UsageError("--health-retries cannot be negative")
        for name, seconds in zip(_NUMBERS, self._times, strict=False):
            if not (seconds == 0 or 0.001 <= seconds < _LONGEST):
                raise UsageError(f"{name} in Healthcheck cannot be less than 1ms")

    @property
    def _times(self) -> tuple[float, ...]:
        return self.interval, self.timeout, self.start_period, self.start_interval

    def document(self) -> dict[str, Any]:
        """In docker's words, times in nanoseconds."""
        if self.disabled:
            return {"Test": ["NONE"]}
        times = (round(each * _BILLION) for each in self._times)
        numbers = zip(_NUMBERS, (*times, self.retries), strict=True)
        test = {"Test": ["CMD-SHELL", self.command]} if self.command else {}
        return test | {name: number for name, number in numbers if number}


def merged(image: ImageConfig, options: HealthOptions | None) -> dict[str, Any]:
    """docker's document for a container; {} if neither has any. What is ill-formed is left out."""
    return _of_image(image.run.get("Healthcheck")) | (options.document() if options else {})


def _of_image(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        return {}
    test = _words(found.get("Test"))
    numbers = {name: found[name] for name in _NUMBERS if _is_count(found.get(name))}
    return ({"Test": test} if test else {}) | numbers


def _words(found: object) -> list[str]:
    """A list of words; [] for anything else."""
    if isinstance(found, list) and all(isinstance(word, str) for word in found):
        return found
    return []


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 < value < 1 << 63


class HealthCheck(Value):
    """What is run, and when: see docker's HEALTHCHECK. In seconds."""

    command: tuple[str, ...]
    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int

    @classmethod
    def of(cls, document: dict[str, Any], shell: object = None) -> HealthCheck | None:
        """With docker's defaults; None if nothing is to be run. `shell` is the image's."""
        command = _command(document.get("Test") or [], shell)
        if not command:
            return None

        def seconds(name: str, usual: float) -> float:
            return document.get(name, 0) / _BILLION or usual

        return cls(
            command, seconds("Interval", 30), seconds("Timeout", 30), seconds("StartPeriod", 0),
            seconds("StartInterval", 5), document.get("Retries") or 3,
        )  # fmt: skip


def _command(test: list[str], shell: object) -> tuple[str, ...]:
    kind, *words = test or [""]
    if kind == "CMD":
        return tuple(words)
    if kind == "CMD-SHELL" and words:
        return (*(_words(shell) or _SHELL), *words)
    return ()
