"""Build checks: the rules, what was found, and the `# check=` directive that says what to do about it.

    check = field *( ";" field )     field = "skip=" ( "all" / RULE *( "," RULE ) ) / "error=" bool
                                           / "experimental=" ( "all" / RULE *( "," RULE ) )

The argument BUILDKIT_DOCKERFILE_CHECK says the same in the same words and replaces the directive. A comment
of this form right above an instruction, its value up to the first blank, is about that instruction alone;
`error` means nothing there. Sources: Dockerfile reference, "check"; BuildKit's linter.
"""

from __future__ import annotations

from ...words.errors import UsageError
from ...words.value import Value
from .tokens import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
_RULES = {
    "StageNameCasing": "stage-name-casing",
    "FromAsCasing": "from-as-casing",
    "NoEmptyContinuation": "no-empty-continuation",
    "ConsistentInstructionCasing": "consistent-instruction-casing",
    "DuplicateStageName": "duplicate-stage-name",
    "ReservedStageName": "reserved-stage-name",
    "JSONArgsRecommended": "json-args-recommended",
    "MaintainerDeprecated": "maintainer-deprecated",
    "UndefinedArgInFrom": "undefined-arg-in-from",
    "WorkdirRelativePath": "workdir-relative-path",
    "UndefinedVar": "undefined-var",
    "MultipleInstructionsDisallowed": "multiple-instructions-disallowed",
    "LegacyKeyValueFormat": "legacy-key-value-format",
    "RedundantTargetPlatform": "redundant-target-platform",
    "SecretsUsedInArgOrEnv": "secrets-used-in-arg-or-env",
    "InvalidDefaultArgInFrom": "invalid-default-arg-in-from",
    "FromPlatformFlagConstDisallowed": "from-platform-flag-const-disallowed",
    "CopyIgnoredFile": "copy-ignored-file",
    "InvalidDefinitionDescription": "invalid-definition-description",
    "ExposeProtoCasing": "expose-proto-casing",
    "ExposeInvalidFormat": "expose-invalid-format",
    "InvalidBaseImagePlatform": "",
}
RULES = tuple(_RULES)
ADVICE = (
    "CopyBeforeInstall", "FilesDoubledByChown", "LargeContext", "PackageCacheInLayer", "SecretInDockerfile",
    "SecretInFile", "SecretInHistory",
)  # fmt: skip
"""What is no rule of BuildKit's: it is told, and fails nothing."""
EXPERIMENTAL = ("InvalidDefinitionDescription",)
_PAGES = "https://docs.docker.com/go/dockerfile/rule/"
_KEYS = ("skip", "error", "experimental")
_BOOL = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


class LintWarning(Value):
    """A sentence about the lines `line` to `end`, and the rule that is broken there; "" if it has no name.

    `comments` are those above the instruction.
    """

    text: str
    rule: str = ""
    line: int = 0
    end: int = 0
    comments: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The page about the rule, or ""."""
        slug = _RULES.get(self.rule, "")
        return f"{_PAGES}{slug}/" if slug else ""

    def __str__(self) -> str:
        """As BuildKit prints it in the log of a build."""
        rule = f"{self.rule}: " if self.rule else ""
        return f"{rule}{self.text} (line {self.line})" if self.line else f"{rule}{self.text}"


class Advice(LintWarning):
    """What costs or gives away more than it has to: `size` in bytes if any, and what to write `instead`."""

    size: int = 0
    instead: str = ""


class Checks(Value):
    """Which rules are skipped and which experimental ones hold (in lower case; "all" is every one).

    `error`: a warning fails the build. `unknown` are names that are no rule.
    """

    skip: tuple[str, ...] = ()
    error: bool = False
    experimental: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def left(self, warnings: Sequence[LintWarning]) -> list[LintWarning]:
        """The warnings that are to be shown; one without a rule cannot be skipped."""
        return [one for one in warnings if not one.rule or self._for(one).shows(one.rule)]

    def shows(self, rule: str) -> bool:
        """Whether a rule holds."""
        names = {"all", rule.lower()}
        if rule in EXPERIMENTAL:
            return not names.isdisjoint(self.experimental)
        return names.isdisjoint(self.skip)

    def _for(self, warning: LintWarning) -> Checks:
        for comment in warning.comments:
            name, equals, value = comment.partition("=")
            if equals and name.strip().lower() == "check":
                return self._with(value.strip().partition(" ")[0])
        return self

    def _with(self, text: str) -> Checks:
        try:
            more = parse_checks(text, "")
        except UsageError:
            return self
        skip, experimental = (*self.skip, *more.skip), (*self.experimental, *more.experimental)
        return self.replace(skip=skip, experimental=experimental)


def parse_checks(text: str, where: str) -> Checks:
    """Read the value of a directive or argument; `where` is how errors call it. Raises UsageError."""
    checks = Checks()
    for field in text.split(";") if text.strip() else ():
        key, equals, value = field.strip().partition("=")
        if not equals:
            raise UsageError(
                f"{where}: invalid check option {key[:80]!r}", hint="write skip=RULE or error=true"
            )
        checks = _with(checks, key.strip().lower(), value.strip(), where)
    return checks


def _with(checks: Checks, key: str, value: str, where: str) -> Checks:
    if key == "error":
        if value.lower() not in _BOOL:
            raise UsageError(f"{where}: error={value[:80]} is neither true nor false")
        return checks.replace(error=_BOOL[value.lower()])
    if key not in _KEYS:
        raise UsageError(f"{where}: unknown key {key[:80]!r}", hint=did_you_mean(key, _KEYS))
    names = tuple(name.strip() for name in value.split(","))
    known = {"all", *(rule.lower() for rule in (*RULES, *ADVICE))}
    unknown = tuple(name for name in names if name.lower() not in known)
    return checks.replace(
        **{key: tuple(name.lower() for name in names), "unknown": (*checks.unknown, *unknown)}
    )
