"""The value of RUN --mount.

    mount = field *( "," field )          field = key [ "=" value ], in '"' when it holds a comma
    key   = type / from / source (src) / target (dst, destination) / readonly (ro) / readwrite (rw) / id
          / sharing / required / size / mode / uid / gid / env

Source: Dockerfile reference, "RUN --mount". The type is bind unless it is given.
"""

from __future__ import annotations

from ...words.value import Value
from .tokens import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .instructions import Instruction

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_KEYS = (
    "type", "from", "source", "target", "readonly", "readwrite", "id", "sharing", "required", "size", "mode",
    "uid", "gid", "env",
)  # fmt: skip
_FLAGS = ("readonly", "readwrite", "required")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


class RunMount(Value):
    """One mount of a RUN. `source_stage` is its `from`; `mode`, `uid`, `gid` are -1 when not given."""

    kind: str
    target: str = ""
    source: str = ""
    source_stage: str = ""
    readonly: bool = False
    id: str = ""
    sharing: str = "shared"
    required: bool = False
    size: int = 0
    mode: int = -1
    uid: int = -1
    gid: int = -1
    env: str = ""


def parse_mount(text: str, item: Instruction, at: str = "") -> RunMount:
    """Read the expanded value `text`. Raises DockerfileError at the token `at`."""
    fields: dict[str, str] = {}
    for field in _split(text):
        key, equals, value = field.partition("=")
        key = _ALIASES.get(key.lower(), key.lower())
        if key not in _KEYS:
            raise item.error(f"unexpected key {key[:80]!r} in --mount", at, hint=did_you_mean(key, _KEYS))
        if not equals and key not in _FLAGS:
            raise item.error(f"--mount: {field!r} must be of the form key=value", at)
        fields[key] = value if equals else "true"
    return _checked(_mount(fields, item, at), fields, item, at)


def _split(text: str) -> list[str]:
    """Fields at commas, those within double quotes kept together."""
    fields, quoted = [""], False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            fields.append("")
        else:
            fields[-1] += char
    return fields


def _mount(fields: dict[str, str], item: Instruction, at: str) -> RunMount:
    kind = fields.get("type", "bind").lower()
    if kind not in TYPES:
        raise item.error(f"unsupported mount type {kind!r}", at, hint=did_you_mean(kind, TYPES))
    sharing = fields.get("sharing", "shared").lower()
    if sharing not in SHARING:
        raise item.error(f"unsupported sharing value {sharing!r}", at, hint=did_you_mean(sharing, SHARING))
    readonly = kind not in ("cache", "tmpfs")
    if "readonly" in fields:
        readonly = _bool(fields["readonly"], item, at)
    if "readwrite" in fields:
        readonly = not _bool(fields["readwrite"], item, at)
    return RunMount(
        kind, fields.get("target", ""), fields.get("source", ""), fields.get("from", ""), readonly,
        fields.get("id", ""), sharing, _bool(fields.get("required", "false"), item, at),
        _size(fields.get("size", "0"), item, at),
        _number(fields, "mode", 8, item, at), _number(fields, "uid", 10, item, at),
        _number(fields, "gid", 10, item, at),
        fields.get("env", ""),
    )  # fmt: skip


def _checked(mount: RunMount, fields: dict[str, str], item: Instruction, at: str) -> RunMount:
    allowed = {"size": ("tmpfs",), "sharing": ("cache",), "required": ("secret", "ssh"), "env": ("secret",)}
    allowed |= dict.fromkeys(("mode", "uid", "gid"), ("cache", "secret", "ssh"))
    for key in fields:
        if mount.kind not in allowed.get(key, TYPES):
            raise item.error(f"unexpected key {key!r} for mount type {mount.kind!r}", at)
    if not mount.target and mount.kind in ("bind", "cache", "tmpfs"):
        raise item.error(f"--mount of type {mount.kind} needs a target", at)
    return mount


def _bool(text: str, item: Instruction, at: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise item.error(f"--mount: expected true or false, not {text!r}", at)
    return text.lower() in ("true", "1")


def _number(fields: dict[str, str], key: str, base: int, item: Instruction, at: str) -> int:
    text = fields.get(key, "")
    if not text:
        return -1
    try:
        number = int(text, base)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 31:
        raise item.error(f"--mount: invalid value {text!r} for {key}", at)
    return number


def _size(text: str, item: Instruction, at: str) -> int:
    number = text.lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    number = number.removesuffix(unit)
    if not (number.isascii() and number.isdigit()) or len(number) > 15:
        raise item.error(f"--mount: invalid size {text!r}", at, hint="write for example size=64m")
    return int(number) << _UNITS[unit]


def is_bound(mount: str) -> bool:
    """Whether a mount shows files of elsewhere."""
    fields = mount.split(",")
    return not {"type=cache", "type=tmpfs", "type=secret"} & {*fields} or "from=" in mount
