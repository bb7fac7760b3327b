"""Why a step is not in the cache: what differs from the record of its inputs in the build before. Pure.

record before, key now ──reason──▶ Reason: one line for the log, more lines for --explain
"""

from __future__ import annotations

from ...words.value import Value
from .keys import fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from .keys import Key
    from .lists import FileChange

    FileChanges = Callable[[str, str], list[FileChange]]

_MAX = 60
_BENEATH = frozenset(("parent",))
_NAMES = {
    "argv": "the command", "scripts": "a here-document", "texts": "a here-document", "user": "the user",
    "workdir": "the working directory", "network": "--network", "hosts": "--add-host", "chown": "--chown",
    "mode": "--chmod", "link": "--link", "unpack": "--unpack", "unpacks": "--unpack",
    "platform": "the platform", "destination": "the destination", "path": "the path", "words": "the sources",
    "clamp": "SOURCE_DATE_EPOCH",
}  # fmt: skip


class Reason(Value):
    """`text` is one line, "" for nothing known; `details` are lines with what there was before and is now.

    `is_beneath`: nothing differs but the layers beneath.
    """

    text: str = ""
    details: tuple[str, ...] = ()
    is_beneath: bool = False


class KeyContext(Value):
    """What is known besides the keys.

    `arguments` are the names of build arguments, `secret` whether the value of a name must not be shown.
    `files` gives the files that differ between two digests, `source` says what a COPY --from is from.
    """

    arguments: Collection[str]
    is_secret: Callable[[str], bool]
    files: FileChanges
    source: str = ""


def reason(before: str, key: Key, known: KeyContext) -> Reason | None:
    """What differs between a record and a key; None if the record is of something else."""
    kind, old = fields_of(before)
    now = fields_of(key.inputs)
    if kind != now[0]:
        return None
    names = [name for name in now[1] if old.get(name) != now[1][name]]
    beneath = ("parent", "clamp") if "parent" in names else ()  # times follow from what is beneath
    found = [_difference(name, old.get(name), now[1][name], known) for name in names if name not in beneath]
    if not found:
        return Reason("", is_beneath="parent" in names)
    details = [line for one in found for line in one.details]
    return Reason(", ".join(one.text for one in found), tuple(details))


def _difference(name: str, old: Any, new: Any, known: KeyContext) -> Reason:
    """What differs in one field."""
    if name == "env":
        return _variables(dict(old or []), dict(new), known)
    if name == "content":
        return _files(known.files(str(old), new))
    if name == "mounts":
        return _mounts(old or [], new, known)
    if name == "layers":
        return Reason(f"{known.source or 'what is copied from'} changed")
    return Reason(f"{_NAMES.get(name, name)} changed", (_line(_NAMES.get(name, name), old, new),))


def _line(name: str, old: object, new: object) -> str:
    return f"{name}: {_shown(old)} → {_shown(new)}"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    import json

    words = json.dumps(value, ensure_ascii=False)
    return words if len(words) <= _MAX else words[: _MAX - 1] + "…"


def _files(changes: list[FileChange]) -> Reason:
    from .lists import in_detail, in_short

    return Reason(in_short(changes), tuple(in_detail(changes)))


def _variables(old: dict[str, str], new: dict[str, str], known: KeyContext) -> Reason:
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    if not names:
        return Reason("the order of the variables changed")
    lines = [_line(name, old.get(name), new.get(name)) for name in names if not known.is_secret(name)]
    return Reason(", ".join(f"{_kind(name, known)} {name} changed" for name in names), tuple(lines))


def _kind(name: str, known: KeyContext) -> str:
    return "build argument" if name in known.arguments else "variable"


def _mounts(old: list[str], new: list[str], known: KeyContext) -> Reason:
    """Each is the text of a mount and the digest of the files that it shows, or another option of RUN."""
    before = dict(text.rpartition(" ")[::2] for text in old)
    parts = []
    for text in new:
        mount, _, content = text.rpartition(" ")
        if mount not in before:
            parts.append(Reason(f"mount {mount or content} is new"))
        elif before[mount] != content:
            changed = _files(known.files(before[mount], content))
            parts.append(changed.replace(text=f"mount {mount}: {changed.text}"))
    now = {text.rpartition(" ")[0] for text in new}
    parts += [Reason(f"mount {mount} is gone") for mount in before if mount not in now]
    if not parts:
        return Reason("the order of the mounts changed")
    return Reason(", ".join(one.text for one in parts), tuple(line for one in parts for line in one.details))
