"""The line to write where a chown or chmod has doubled files: owners belong to the step that writes them."""

from __future__ import annotations

import re

from ....grammars.dockerfile.instructions import CopyInstruction, RunInstruction
from ....images.dockerfile.advice import advise
from ....stores.trees.reading.view import TreeView
from ....words.digest import Digest
from ....words.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ....grammars.dockerfile.checks import Advice
    from ....grammars.dockerfile.instructions import Instruction
    from ....stores.trees.reading.reader import LayerReader
    from ..stageprogress import StageProgress
    from .doubled import DoubledFile
    from .layers import BuiltLayer

_CHOWN = re.compile(r"\bchown\s+(?:-\S+\s+)*([A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+)\s")
_CHMOD = re.compile(r"\bchmod\s+(?:-\S+\s+)*([0-7]{3,4}|[ugoa]*[-+=][rwxX]+)\s")
_ALONE = re.compile(r"RUN\s+ch(?:own|mod|grp)\s[^&|;\n]*")
_PASSWD = b"etc/passwd"


def owner_advice(
    end: StageProgress, layer: BuiltLayer, found: Sequence[DoubledFile], least: int
) -> Iterator[Advice]:
    """One piece for the step that has written most of them first, if all are at least `least` bytes."""
    size = sum(one.size for one in found)
    if size < least:
        return
    sizes: dict[int, int] = {}
    for one in found:
        sizes[one.layer] = sizes.get(one.layer, 0) + one.size
    most = max(sizes, key=lambda at: sizes[at])
    first = _maker(end, most)
    ours = [one for one in found if one.layer == most]
    what = _what(found)
    origin = f"line {first.line.line}" if first else "the base image"
    files = f"{len(found)} file{'s' * (len(found) != 1)}"
    text = f"{human_size(size)} are in the image twice: {files} of {origin}, written again {what}"
    yield advise(layer.item, "FilesDoubledByChown", text, size, _instead(layer, first, ours))


def _what(found: Sequence[DoubledFile]) -> str:
    words = [
        word for word, given in (
            ("owner", any(one.has_owner for one in found)), ("mode", any(one.has_mode for one in found)),
        ) if given
    ]  # fmt: skip
    return f"for another {' and '.join(words)}"


def _maker(end: StageProgress, layer: int) -> Instruction | None:
    """The instruction that has made a layer, None for one of the base image."""
    makers = [step.instruction for step, diff_id in end.steps if diff_id is not None]
    at = layer - (len(end.diff_ids) - len(makers))
    return makers[at] if at >= 0 else None


def _instead(layer: BuiltLayer, first: Instruction | None, found: Sequence[DoubledFile]) -> str:
    if isinstance(first, RunInstruction):
        return _joined(first, layer.item)
    if not isinstance(first, CopyInstruction):
        return ""
    flags = _flags(layer, found)
    if not flags:
        return ""
    words, whole = " ".join(first.code.split()), _files_of(layer.beneath[found[0].layer])
    if len(found) < whole:
        folder = _common([one.path for one in found])
        return f"{first.name}{flags} … {folder}"
    name, _, rest = words.partition(" ")
    for flag in (flag.partition("=")[0] for flag in flags.split()):
        rest = re.sub(rf"(?:^|(?<= )){flag}=\S+ ", "", rest)
    return f"{name}{flags} {rest}"


def _flags(layer: BuiltLayer, found: Sequence[DoubledFile]) -> str:
    """What COPY has to be told: the owner that they all have now, and the mode that was asked for."""
    flags = ""
    if any(one.has_owner for one in found):
        owners = {(one.uid, one.gid) for one in found}
        if len(owners) > 1:
            return ""
        uid, gid = owners.pop()
        named = set(_CHOWN.findall(layer.item.code + " "))
        between = layer.beneath[found[0].layer + 1 :]
        is_known = not any(reader.node(_PASSWD) for reader in (*between, layer.reader))
        flags += f" --chown={named.pop() if len(named) == 1 and is_known else f'{uid}:{gid}'}"
    if any(one.has_mode for one in found):
        modes = set(_CHMOD.findall(layer.item.code + " "))
        if len(modes) != 1 or (modes & {"644", "0644", "600", "0600"} and len(found) > 1):
            return ""
        flags += f" --chmod={modes.pop()}"
    return flags


def _joined(first: RunInstruction, item: Instruction) -> str:
    """The command that wrote the files, and the chown after it."""
    alone = _ALONE.fullmatch(item.code.strip())
    if not (alone and first.command.shell) or first.command.heredocs or first.mounts:
        return ""
    both = f"{' '.join(first.code.split())} && {' '.join(item.code.split()).partition(' ')[2]}"
    return both if len(both) <= 200 else f"RUN … && {' '.join(item.code.split()).partition(' ')[2]}"


def _files_of(reader: LayerReader) -> int:
    """How many files with content a layer has."""
    nodes = TreeView([(Digest.of(b""), reader)]).own()
    return sum(node.kind == "file" and node.size > 0 for _, node in nodes)


def _common(paths: Sequence[bytes]) -> str:
    """The folder that all lie in, absolute and with a slash at the end."""
    parts = [path.split(b"/")[:-1] for path in paths]
    common = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return "/" + "".join(part.decode("utf-8", "backslashreplace") + "/" for part in common)
