"""`--filter key=value`, repeated: docker's rules and docker's messages.

Source: moby daemon/internal/filters; docker/cli opts, FilterOpt.
"""

from __future__ import annotations

from ..words.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TRUE, _FALSE = ("1", "true"), ("0", "false")


class Filters:
    """What was asked. Values of one key are alternatives, those of `label` must all hold; all keys must hold.

    Raises UsageError for a filter without "=" and for a key outside `allowed`.
    """

    def __init__(self, written: Sequence[str], allowed: Sequence[str]) -> None:
        self.values: dict[str, list[str]] = {}
        for condition in filter(None, written):
            name, equals, value = condition.partition("=")
            key = name.strip().lower()
            if not equals:
                raise _malformed(condition)
            if key not in allowed:
                raise UsageError(f"invalid filter '{key}'", hint=f"filters are {', '.join(sorted(allowed))}")
            self.values.setdefault(key, []).append(value.strip())

    def get(self, key: str) -> list[str]:
        """All values given for `key`, [] if none."""
        return self.values.get(key, [])

    def flag(self, key: str) -> bool | None:
        """The boolean given for `key`, None if none. Raises UsageError, also when both are given."""
        values = self.get(key)
        if not values:
            return None
        is_true = any(value in _TRUE for value in values)
        if is_true == any(value in _FALSE for value in values):
            raise UsageError(f"invalid filter '{key}=[{' '.join(values)}]'", hint="expected true or false")
        return is_true

    def allows(self, key: str, *values: str) -> bool:
        """Whether `key` was not given, or any of `values` is among what was given for it."""
        wanted = self.get(key)
        return not wanted or any(value in wanted for value in values)

    def one_of(self, key: str, known: Sequence[str], what: str = "") -> None:
        """Raise UsageError for a value of `key` that is not `known`."""
        for value in self.get(key):
            if value not in known:
                raise UsageError(
                    f"invalid filter '{key}={value}': invalid value for {what or key} ({value}): "
                    f"must be one of {', '.join(known)}"
                )

    def matches(self, key: str, *values: str) -> bool:
        """Whether `key` was not given, or a value of it, a regular expression, is found in any of `values`.

        Raises UsageError for an expression that is none.
        """
        if not self.get(key):
            return True
        import re

        pairs = [(text, value) for text in self.get(key) for value in values]
        try:
            return any(text == value or re.search(text, value) for text, value in pairs)
        except re.error as error:
            raise UsageError(f"invalid filter '{key}': {error} in {error.pattern!r}") from None

    def labels(self, labels: Mapping[str, str]) -> bool:
        """Whether every `label=NAME[=VALUE]` holds for `labels`, and no `label!=NAME[=VALUE]` does."""
        return all(_holds(wanted, labels) for wanted in self.get("label")) and not any(
            _holds(unwanted, labels) for unwanted in self.get("label!")
        )

    def until(self) -> float:
        """The moment before which something must have been made, inf if none was given. Raises UsageError."""
        from .output import instant

        values = self.get("until") + self.get("unused-for")
        if len(values) > 1:
            raise UsageError("more than one until filter specified")
        try:
            return instant(values[0]) if values else float("inf")
        except UsageError as error:
            raise UsageError(f"invalid value for 'until' filter: {error.message}", hint=error.hint) from None


def _holds(wanted: str, labels: Mapping[str, str]) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


def _malformed(condition: str) -> UsageError:
    error = UsageError(f"invalid filter {condition!r}: bad format of filter (expected name=value)")
    error.exit_code = 125  # docker's parser of options refuses it
    return error
