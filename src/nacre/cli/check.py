"""`nacre system check`: verify everything in the store; `--repair` mends what can be mended."""

from __future__ import annotations

from .options import Command, flag, text
from .output import human_size, inspect_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..images.audit.check import Report
    from ..images.audit.finding import Finding
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """A line for each finding, then one for the whole; 1 when something is wrong still."""
    from time import monotonic

    began = monotonic()
    with context.progress(quiet=bool(args.format)) as progress:
        report = context.engine.check(repair=args.repair, progress=progress)
    seconds = monotonic() - began
    if args.format:
        inspect_one(context, _document(report, seconds), args.format)
    else:
        _tell(context, report, seconds, args.repair)
    return 1 if report.wrong else 0


def _tell(context: Context, report: Report, seconds: float, repair: bool) -> None:
    for finding in report.findings:
        context.print(finding.line)
    rate = human_size(report.bytes / max(seconds, 1e-9))
    counts = f"{report.blobs} blobs, {report.trees} trees, {report.images} images"
    context.print(f"Checked {counts}: {human_size(report.bytes)} in {seconds:.1f} s ({rate}/s)")
    count = len(report.wrong)
    if not count:
        context.print("No problems found")
        return
    context.print("1 problem found" if count == 1 else f"{count} problems found")
    if repair:
        context.warn("hint: remove these images (nacre rmi) and pull or build them again")
    else:
        context.warn("hint: nacre system check --repair")


def _document(report: Report, seconds: float) -> dict[str, Any]:
    return {
        "Blobs": report.blobs, "Trees": report.trees, "Images": report.images, "Bytes": report.bytes,
        "Seconds": round(seconds, 3), "Wrong": len(report.wrong),
        "Findings": [_finding(one) for one in report.findings],
    }  # fmt: skip


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "Kind": one.kind, "Name": one.name, "Problem": one.problem, "Images": list(one.images),
        "Wrong": one.wrong, "Remedy": one.remedy,
    }  # fmt: skip


COMMAND = Command(
    arguments="",
    run=run,
    options=(
        text("-f, --format", "Format output: 'json' or a Go template"),
        flag("--repair", "Re-create damaged content, or fetch it from its registry"),
    ),
    details="Exits with 1 if there are problems. Changes nothing without --repair. With it, a missing or "
    "damaged database is rebuilt first, from its remains, index.json and the content.",
)
