"""What `nacre build` says of what could be done better, and the reports of `--advice`."""

from __future__ import annotations

import os

from ..words.errors import UsageError
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ..grammars.dockerfile.checks import Advice
    from ..words.progress import Progress
    from .context import Context
    from .options import Args

_MODES = ("auto", "all", "none")
_FORMS = ("github", "json", "sarif", "text")
_SHOWN = 5
"""Pieces of advice that a build prints."""


class AdviceOptions(Value):
    """What is looked for (`mode`), and the files to write, each in a form; "-" is standard output."""

    mode: str
    reports: tuple[tuple[str, str], ...] = ()


def read_advice(words: Sequence[str]) -> AdviceOptions:
    """The values of --advice: a mode, or FORM=FILE, for which all layers are looked at. Raises UsageError."""
    modes = [word for word in words if word in _MODES]
    reports = tuple(word.partition("=")[::2] for word in words if word not in _MODES)
    for form, path in reports:
        if form not in _FORMS or not path:
            raise UsageError(
                f"invalid --advice {form}{path and f'={path}'}",
                hint=f"use {', '.join(_MODES)}, or FORM=FILE with {', '.join(_FORMS)}",
            )
    if len(set(modes)) > 1 or (reports and "none" in modes):
        raise UsageError(f"--advice {' and '.join(words)} ask for different things")
    return AdviceOptions(modes[0] if modes else "all" if reports else "auto", reports)


def show_advice(progress: Progress, found: Sequence[Advice], args: Args) -> None:
    """The lines after a build: what costs most first, and how to see the rest."""
    shown = found if "all" in args.advice else found[:_SHOWN]
    for line in _lines(shown, file_name(args)):
        progress.line(line)
    if len(found) > len(shown):
        progress.line(f"{len(found) - len(shown)} more with --advice=all; --advice=none says nothing")


def _lines(found: Sequence[Advice], name: str) -> Iterator[str]:
    from .buildview import printable

    for one in found:
        yield printable(f"{name}:{one.line}: advice: {one.text} ({one.rule})")
        yield from (printable(f"    {line}") for line in one.instead.split("\n") if line)


def write_reports(context: Context, found: Sequence[Advice], args: Args) -> None:
    """The files of --advice FORM=FILE, each of which appears whole. Raises StoreError."""
    for form, path in read_advice(args.advice).reports:
        text = _report(form, found, file_name(args))
        _write(context, path, f"{text}\n".encode() if text else b"")


def _write(context: Context, path: str, data: bytes) -> None:
    from .files import write_out

    write_out(context, "" if path == "-" else path, lambda give: give(data), "write advice")


def _report(form: str, found: Sequence[Advice], name: str) -> str:
    from ..images.dockerfile.outline import advised
    from .checkforms import FORMS

    if form == "text":
        return "\n".join(_lines(found, name))
    ordered = sorted(found, key=lambda one: one.line)
    document: dict[str, Any] = {
        "warnings": [], "advice": [advised(one) for one in ordered], "sources": [{"filename": name}],
    }  # fmt: skip
    if form == "json":
        import json

        return json.dumps({"advice": document["advice"], "filename": name}, indent=2, ensure_ascii=False)
    return FORMS[form](document)


def file_name(args: Args) -> str:
    """The Dockerfile as an editor or a code host finds it from here."""
    folder = args.positionals[0]
    if args.file or not os.path.isdir(folder):
        return args.file if args.file not in ("", "-") else "Dockerfile"
    return os.path.relpath(os.path.join(folder, "Dockerfile"))
