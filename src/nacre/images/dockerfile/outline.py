"""What a Dockerfile says of itself: its targets, and the parameters that a target takes. Pure.

The documents have the fields of BuildKit's (`frontend.targets`, `frontend.outline`, `frontend.lint`).
"""

from __future__ import annotations

import posixpath
from base64 import b64encode

from ...grammars.dockerfile import instructions as dockerfile
from ...grammars.dockerfile.expand import expand
from ...grammars.dockerfile.mounts import parse_mount
from .fold import Fold, StageState, continued, start
from .lint import RecordingVariables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ...grammars.dockerfile.checks import Advice, LintWarning
    from ...grammars.dockerfile.instructions import Dockerfile, Instruction, Stage
    from ...words.errors import DockerfileError
    from .plan import Plan, StagePlan

    Row = dict[str, Any]


def targets(file: Dockerfile, text: str) -> Row:
    """The stages of a file, the last one by default."""
    return {"targets": [_target(file, stage) for stage in file.stages], "sources": [_encoded(text)]}


def _target(file: Dockerfile, stage: Stage) -> Row:
    base = stage.base
    return _without_empty({
        "name": stage.name, "default": stage is file.stages[-1], "description": _comment(base, stage.name),
        "base": str(base.base), "platform": str(base.platform), "location": _place(base),
    })  # fmt: skip


def outline(plan: Plan, fold: Fold, text: str) -> Row:
    """The arguments, secrets and agents that the target of a plan takes. Raises DockerfileError."""
    seen = _Outline(plan, fold)
    seen.visit(plan.target)
    target = plan.stages[plan.target].stage
    rows = {name: sorted(found.values(), key=_line) for name, found in seen.found.items()}
    said = {"name": target.name, "description": _comment(target.base, target.name), **rows}
    return {**_without_empty(said), "sources": [_encoded(text)]}


def lint(
    warnings: Sequence[LintWarning], name: str, text: str, error: DockerfileError | None, why: str,
    advice: Sequence[Advice] = (),
) -> Row:  # fmt: skip
    """What build checks found; `why` is the fault that ends the build, at the place of `error` if any."""
    rows = [
        _without_empty({
            "ruleName": one.rule, "url": one.url, "detail": one.text, "location": _lines(one.line, one.end),
        })
        for one in warnings
    ]  # fmt: skip
    source = {"filename": name, "data": _encoded(text), "language": "Dockerfile"}
    document: Row = {"warnings": rows, "sources": [source]}
    if advice:
        document["advice"] = [advised(one) for one in advice]
    if why:
        line = error.line if error else 0
        document["buildError"] = {"message": why, "location": _lines(line, line)}
    return document


def advised(one: Advice) -> Row:
    """Advice as a document, with the fields of a warning."""
    return _without_empty({
        "ruleName": one.rule, "detail": one.text, "location": _lines(one.line, one.end), "size": one.size,
        "instead": one.instead,
    })  # fmt: skip


class _Outline:
    """Collects from a stage, those beneath it and those that it copies from; the first name wins."""

    def __init__(self, plan: Plan, fold: Fold) -> None:
        self._plan, self._fold = plan, fold
        self._globals = dict(_global_args(plan))
        self._states: dict[int, StageState] = {}
        self.found: dict[str, dict[str, Row]] = {"args": {}, "secrets": {}, "ssh": {}}

    def visit(self, index: int) -> None:
        """Collect from a stage and from what it needs."""
        planned = self._plan.stages[index]
        known = dict(self._globals)
        used = self._in_from(planned)
        state = self._start(planned)
        for item in planned.stage.instructions:
            state = self._fold.advance(state, item)[0]
            if isinstance(item, dockerfile.ArgInstruction):
                used += self._declared(item, state, known)
            elif isinstance(item, dockerfile.RunInstruction):
                self._mounts(item, state)
        self._states[index] = state
        for name in _closed(used, known):
            self.found["args"].setdefault(name, known[name][0])
        for other in planned.needs:
            self.visit(other)

    def _start(self, planned: StagePlan) -> StageState:
        if planned.base.stage is None:
            return start(None)
        if planned.base.stage not in self._states:
            self.visit(planned.base.stage)
        return continued(self._states[planned.base.stage])

    def _in_from(self, planned: StagePlan) -> list[str]:
        seen = RecordingVariables(self._plan.globals)
        for word in (planned.stage.base.base, planned.stage.base.platform):
            expand(word, seen, escape=self._plan.file.escape, file=self._plan.file.file)
        return seen.hits

    def _declared(
        self, item: dockerfile.ArgInstruction, state: StageState, known: dict[str, tuple[Row, list[str]]]
    ) -> list[str]:
        names = [str(name) for name, _ in item.declared]
        for name, (_, default) in zip(names, item.declared, strict=True):
            if default is not None or name in self._plan.arguments or name not in known:
                known[name] = _argument(item, name, state.env.get(name, "")), []
        return names

    def _mounts(self, item: dockerfile.RunInstruction, state: StageState) -> None:
        for text in item.mounts:
            mount = parse_mount(self._fold.text(state, text, item), item)
            if mount.kind in ("secret", "ssh"):
                name = mount.id or ("default" if mount.kind == "ssh" else posixpath.basename(mount.target))
                row = _without_empty({"name": name, "required": mount.required, "location": _place(item)})
                self.found["ssh" if mount.kind == "ssh" else "secrets"].setdefault(name, row)


def _global_args(plan: Plan) -> Iterator[tuple[str, tuple[Row, list[str]]]]:
    """The ARGs before the first FROM, and the names that their defaults use."""
    for item in plan.file.global_args:
        for name, default in item.declared:
            seen = RecordingVariables(plan.globals)
            if default is not None:
                expand(default, seen, escape=plan.file.escape, file=plan.file.file)
            yield str(name), (_argument(item, str(name), plan.globals.get(name, "")), seen.hits)


def _closed(names: Sequence[str], known: Mapping[str, tuple[Row, list[str]]]) -> list[str]:
    """The names that are known, and those that their defaults use."""
    found = [name for name in names if name in known]
    for name in found:
        found += [other for other in known[name][1] if other in known and other not in found]
    return found


def _argument(item: Instruction, name: str, value: str) -> Row:
    return _without_empty(
        {"name": name, "description": _comment(item, name), "value": value, "location": _place(item)}
    )


def _comment(item: Instruction, name: str) -> str:
    """What a comment above says of a name that it begins with."""
    found = (text for text in item.line.comments if name and text.startswith(f"{name} "))
    return next(found, "").removeprefix(f"{name} ")


def _place(item: Instruction) -> Row:
    return _lines(item.line.line, item.line.end_line)


def _lines(first: int, last: int) -> Row:
    return {"ranges": [{"start": {"line": first}, "end": {"line": last}}]} if first else {}


def _line(row: Row) -> int:
    found: int = row["location"]["ranges"][0]["start"]["line"]
    return found


def _without_empty(row: Row) -> Row:
    return {name: value for name, value in row.items() if value}


def _encoded(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogateescape")).decode()
