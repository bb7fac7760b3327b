"""The `# check=` directive: what is to be done about warnings.

    check = field *( ";" field )     field = "skip=" ( "all" / RULE *( "," RULE ) ) / "error=" bool
                                           / "experimental=" ( "all" / RULE *( "," RULE ) )

Without a key in front the value is a list of rules to skip. The argument BUILDKIT_DOCKERFILE_CHECK says the
same in the same words and replaces the directive. Source: Dockerfile reference, "check"; BuildKit's linter.
"""

from __future__ import annotations

from ...words.errors import UsageError
from ...words.value import Value
from .tokens import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
EMPTY_CONTINUATION, JSON_ARGUMENTS = "NoEmptyContinuation", "JSONArgsRecommended"
RULES = (EMPTY_CONTINUATION, JSON_ARGUMENTS)
_KEYS = ("skip", "error", "experimental")
_BOOL = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


class LintWarning(Value):
    """A sentence that begins with its place, and the rule that is broken there; "" if it has no name."""

    text: str
    rule: str = ""


class Checks(Value):
    """Which rules are skipped (in lower case; "all" is every one), and whether a warning fails the build."""

    skip: tuple[str, ...] = ()
    error: bool = False

    def left(self, warnings: Sequence[LintWarning]) -> list[LintWarning]:
        """The warnings that are to be shown; one without a rule cannot be skipped."""
        return [one for one in warnings if not (one.rule and {"all", one.rule.lower()} & set(self.skip))]


def parse_checks(text: str, where: str) -> Checks:
    """Read the value of a directive or argument; `where` is how errors call it. Raises UsageError."""
    checks = Checks()
    for field in text.split(";") if text.strip() else ():
        key, equals, value = field.strip().partition("=")
        if not equals:
            key, value = "skip", key
        checks = _with(checks, key.strip().lower(), value.strip(), where)
    return checks


def _with(checks: Checks, key: str, value: str, where: str) -> Checks:
    if key == "skip":
        return checks.replace(skip=tuple(name.strip().lower() for name in value.split(",")))
    if key == "error":
        if value.lower() not in _BOOL:
            raise UsageError(f"{where}: error={value[:80]} is neither true nor false")
        return checks.replace(error=_BOOL[value.lower()])
    if key == "experimental":
        return checks
    raise UsageError(f"{where}: unknown key {key[:80]!r}", hint=did_you_mean(key, _KEYS))
