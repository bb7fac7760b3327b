"""`--attest`, `--sbom` and `--provenance` of `nacre build`.

    attest = "type=" ( "sbom" / "provenance" ) *( "," name "=" value )        as CSV
    sbom, provenance = boolean / name "=" value *( "," name "=" value )       the same without its type

Of each type the last counts. Source: docker buildx build, "--attest"; buildx's util/buildflags.
"""

from __future__ import annotations

from ..grammars.csvline import read_record
from ..images.attestations.wanted import KINDS, MAX, PROVENANCE, SBOM, V1, AttestationOptions
from ..words.errors import Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Args

_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_PARAMETERS = (
    "builder-id",
    "complete-materials",
    "filename",
    "inline-only",
    "mode",
    "reproducible",
    "version",
)


def attestations(args: Args) -> tuple[AttestationOptions, ...]:
    """All that is asked for. Raises UsageError, Unsupported."""
    given = [(f"--attest {text}", _fields(text, f"--attest {text}")) for text in args.attest]
    for kind in (PROVENANCE, SBOM):
        if value := getattr(args, kind):
            option = f"--{kind}={value}"
            given.append((option, _fields(_canonical(kind, value), option)))
    found: dict[str, AttestationOptions | None] = {}
    for option, fields in given:
        kind = fields.pop("type", "")
        if kind not in KINDS:
            hint = f"use {' or '.join(KINDS)}"
            raise UsageError(f"{option}: unknown attestation type {kind[:80]!r}", hint=hint)
        found[kind] = _options(option, kind, fields)
    return tuple(each for each in found.values() if each is not None)


def _canonical(kind: str, value: str) -> str:
    if value.lower() in _TRUE + _FALSE:
        return f"type={kind},disabled={'false' if value.lower() in _TRUE else 'true'}"
    return f"type={kind},{value}"


def _fields(text: str, option: str) -> dict[str, str]:
    found = {}
    for field in read_record(text):
        name, equals, value = field.partition("=")
        if not equals:
            raise UsageError(f"{option}: invalid value {field[:80]!r}", hint="expected name=value")
        found[name.strip().lower()] = value
    return found


def _options(option: str, kind: str, fields: dict[str, str]) -> AttestationOptions | None:
    """None for one that is disabled."""
    if _flag(option, "disabled", fields.pop("disabled", "false")):
        return None
    if kind == SBOM and fields.get("generator"):
        raise Unsupported(
            f"{option}: generator images are not run",
            hint="leave generator out: nacre reads the image itself",
        )
    known = _PARAMETERS if kind == PROVENANCE else ("generator",)
    for name in fields:
        if name not in known:
            raise UsageError(
                f"{option}: type={kind} has no parameter {name[:80]!r}", hint=f"known are {', '.join(known)}"
            )
    if kind == SBOM:
        return AttestationOptions(SBOM)
    mode = fields.get("mode", MAX)
    return AttestationOptions(
        PROVENANCE, MAX if mode == "full" else mode, fields.get("version", V1), fields.get("builder-id", ""),
        _flag(option, "reproducible", fields.get("reproducible", "false")),
        _flag(option, "inline-only", fields.get("inline-only", "false")),
        _flag(option, "complete-materials", fields.get("complete-materials", "false")),
        fields.get("filename", ""),
    )  # fmt: skip


def _flag(option: str, name: str, value: str) -> bool:
    if value.lower() not in _TRUE + _FALSE:
        raise UsageError(f"{option}: {name}={value} is neither true nor false")
    return value.lower() in _TRUE
