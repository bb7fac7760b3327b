"""`nacre mirror`: keep repositories elsewhere the same, by a list."""

from __future__ import annotations

from threading import Lock

from .options import Command, choice, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.arrows.mirroring import Outcome
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Mirror everything in the list; 1 when something failed."""
    from time import monotonic

    began, origin = monotonic(), args.positionals[0]
    with context.progress(
        quiet=True if args.progress != "json" else args.quiet, form=args.progress
    ) as progress:
        told = _OutcomePrinter(context, args)
        context.engine.mirror(
            context.input if origin == "-" else origin, dry_run=args.dry_run, prune=args.prune,
            verify=args.verify, tell=told.tell, progress=progress,
        )  # fmt: skip
        progress.result(**told.fields(monotonic() - began))
    told.end(monotonic() - began)
    return 1 if told.count("failed") else 0


class _OutcomePrinter:
    """Outcomes as they come: what changed on standard output, what failed on standard error."""

    def __init__(self, context: Context, args: Args) -> None:
        self._context, self._args, self._lock = context, args, Lock()
        self._outcomes: list[Outcome] = []

    def tell(self, outcome: Outcome) -> None:
        with self._lock:
            self._outcomes.append(outcome)
            place = f"{outcome.target}:{outcome.tag}" if outcome.tag else outcome.target
            if outcome.status == "failed":
                self._context.warn(f"{place}: {outcome.error}")
            elif outcome.status != "unchanged" and not self._silent:
                would = "would be " if self._args.dry_run else ""
                self._context.print(f"{place}: {would}{outcome.status}")

    @property
    def _silent(self) -> bool:
        return bool(self._args.quiet or self._args.format or self._args.progress == "json")

    def count(self, status: str) -> int:
        return sum(outcome.status == status for outcome in self._outcomes)

    def fields(self, seconds: float) -> dict[str, object]:
        """The number of tags by status, the bytes moved and the time, for `--format`."""
        sums: dict[str, object] = {
            name.capitalize(): self.count(name) for name in ("copied", "unchanged", "pruned", "failed")
        }
        moved = sum(outcome.moved for outcome in self._outcomes)
        return {"Tags": len(self._outcomes), **sums, "Moved": moved, "Seconds": round(seconds, 3)}

    def end(self, seconds: float) -> None:
        """The rows where a format is wanted, and a line of sums."""
        from .output import human_size, inspect_one

        if self._args.format:
            for outcome in sorted(self._outcomes, key=lambda each: (each.target, each.tag)):
                row = {name.capitalize(): getattr(outcome, name) for name in outcome._fields}
                inspect_one(self._context, row, self._args.format)
        if self._silent:
            return
        sums = self.fields(seconds)
        parts = [f"{sums[name]} {name.lower()}" for name in ("Copied", "Unchanged", "Pruned", "Failed")]
        moved = human_size(int(str(sums["Moved"])))
        tags = "1 tag" if sums["Tags"] == 1 else f"{sums['Tags']} tags"
        self._context.warn(f"{tags}: {', '.join(parts)}; moved {moved} in {seconds:.1f}s")


COMMAND = Command(
    "FILE",
    run=run,
    options=(
        flag("-n, --dry-run", "Only show what would be done"),
        text("--format", "Print every tag as 'json' or by a Go template"),
        choice("--progress", "Set type of progress output", ("auto", "json"), default="auto"),
        flag("--prune", "Delete tags of the target that the source no longer has"),
        flag("-q, --quiet", "Only print failures"),
        flag("--verify", "Check every tag at the target instead of trusting the record of last week"),
    ),
    store=False,
    details="""\
FILE is a list in TOML ("-" reads it from STDIN):
  [[mirror]]
  from = "docker.io/library/debian"
  to = "registry.example/mirror/debian"    # or "oci:FOLDER"
  include = ["bookworm*"]                  # tags by patterns; default: all
  exclude = ["*-slim"]
  platform = "linux/amd64"                 # default: all
  referrers = true                         # also signatures, SBOMs and other referrers""",
)
