"""What COPY takes: secrets that come into the image, and far more than there has to be."""

from __future__ import annotations

import posixpath

from ....grammars.dockerfile.instructions import CopyInstruction
from ....images.dockerfile.advice import advise
from ....images.dockerfile.fold import CopyAction, is_remote
from ....images.dockerfile.secrets import secret_files
from ....words.errors import NacreError
from ....words.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ....grammars.dockerfile.checks import Advice
    from ....grammars.dockerfile.instructions import Instruction
    from ....words.digest import Digest
    from ..select import Selection
    from ..session import BuildSession
    from ..stageprogress import StageProgress

LARGE = 100_000_000
"""Bytes of a COPY of everything that are worth a word."""
_ENTRIES = 5
_NOTABLE = 0.02
"""The part of the whole that an entry has at least."""
_SMALL = 64 << 10
_SECRETS = 3
_UNWANTED = frozenset((
    ".git", ".hg", ".svn", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache",
    ".pytest_cache", ".terraform", ".gradle", ".next", ".nuxt", ".cache",
))  # fmt: skip
"""What hardly ever belongs into an image with all the rest."""


class ContextAdvice:
    """About the steps that copy files of a context; those in `made` alone, if it is given."""

    def __init__(self, session: BuildSession, made: Collection[Digest] | None) -> None:
        self._session, self._made = session, made

    def find(self, end: StageProgress) -> Iterator[Advice]:
        """Large ones in any stage, secrets in what becomes the image, whose stage is `end`."""
        told: set[int] = set()
        kept = {id(step.instruction) for step, _ in end.steps}
        for stage in self._session.standing:
            for step, diff_id in stage.steps:
                item = step.instruction
                if id(item) in told or not isinstance(item, CopyInstruction) or not self._is_new(diff_id):
                    continue
                told.add(id(item))
                yield from self._large(item, step.action)
                if id(item) in kept:
                    yield from self._secrets(item)

    def _is_new(self, diff_id: Digest | None) -> bool:
        return diff_id is not None and (self._made is None or diff_id in self._made)

    def _chosen(self, item: CopyInstruction) -> list[Selection]:
        builds = self._session.builds.values()
        return next((found for build in builds if (found := build.chosen.get(id(item)))), [])

    def _large(self, item: CopyInstruction, action: object) -> Iterator[Advice]:
        if not isinstance(action, CopyAction) or action.origin or any(map(is_remote, action.sources)):
            return
        if [posixpath.normpath("/" + source) for source in action.sources] != ["/"]:
            return
        chosen = self._chosen(item)
        total = sum(file.size for one in chosen for _, file in one.files if file.kind == "file")
        if total < LARGE:
            return
        entries = _entries(chosen, total)
        largest = [one for one in entries[:_ENTRIES] if one[1] >= total * _NOTABLE]
        shown = ", ".join(f"{name} {human_size(size)}" for name, size in largest)
        text = f"{human_size(total)} of the context are copied: {shown}"
        unwanted = [name for name, _ in largest if name.rstrip("/").rpartition("/")[2] in _UNWANTED]
        instead = "\n".join(f".dockerignore: {name.rstrip('/')}" for name in unwanted)
        yield advise(item, "LargeContext", text, total, instead)

    def _secrets(self, item: CopyInstruction) -> Iterator[Advice]:
        """Files whose names say that they may hold one are read, as far as they are small."""
        if item.source_stage:
            return
        files = {
            file.path: file for one in self._chosen(item) for _, file in one.files if file.kind == "file"
        }
        found = []
        for path, kind_of in secret_files((path, path) for path in files):
            try:
                data = self._session.context.open(files[path]).read(_SMALL)
            except (NacreError, OSError):
                continue
            if kind := kind_of(data.decode("utf-8", "replace")):
                found.append((path.decode("utf-8", "backslashreplace"), kind))
        if found:
            yield secret_advice(item, found)


def secret_advice(item: Instruction, found: Sequence[tuple[str, str]]) -> Advice:
    """About files that hold secrets: what they are called, and of which kind."""
    shown = ", ".join(f"{path} ({kind})" for path, kind in found[:_SECRETS])
    more = f" and {len(found) - _SECRETS} more" if len(found) > _SECRETS else ""
    text = f"the image holds secrets: {shown}{more}"
    return advise(item, "SecretInFile", text, instead=_without(item, [path for path, _ in found]))


def _without(item: Instruction, paths: Sequence[str]) -> str:
    """How the files stay away: a single one that is asked for is mounted, others are ignored."""
    if not isinstance(item, CopyInstruction):
        return f"RUN --mount=type=secret,id={posixpath.basename(paths[0])},target={paths[0]} …"
    if item.source_stage:
        return ""
    if [posixpath.normpath(source) for source in item.sources] == list(paths):
        name = posixpath.basename(paths[0])
        target = item.destination + name if item.destination.endswith("/") else item.destination
        return f"RUN --mount=type=secret,id={name},target={target} …"
    return "\n".join(f".dockerignore: {path}" for path in paths[:_SECRETS])


def _entries(chosen: Sequence[Selection], total: int) -> list[tuple[str, int]]:
    """The bytes of the entries at the top; if nearly all is in one, of what is in that. The largest first."""
    files = [(path, file.size) for one in chosen for path, file in one.files if file.kind == "file"]
    prefix = b""
    while True:
        sizes = _below(files, prefix)
        best = max(sizes, key=lambda name: sizes[name], default=b"")
        if not best.endswith(b"/") or best[:-1].rpartition(b"/")[2].decode("utf-8", "replace") in _UNWANTED:
            break
        if sizes[best] < total * 0.8:
            break
        prefix = best
    ordered = sorted(sizes.items(), key=lambda one: -one[1])
    return [(name.decode("utf-8", "backslashreplace"), size) for name, size in ordered]


def _below(files: Sequence[tuple[bytes, int]], prefix: bytes) -> dict[bytes, int]:
    """Bytes of what is in a folder, by path; folders end with a slash."""
    sizes: dict[bytes, int] = {}
    for path, size in files:
        if path.startswith(prefix):
            name, slash, _ = path[len(prefix) :].partition(b"/")
            sizes[prefix + name + slash] = sizes.get(prefix + name + slash, 0) + size
    return sizes
