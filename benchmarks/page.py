"""One HTML page of results that needs nothing beside it: bars with spread, ratios, versions, machine."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2.5rem; font-size: 1.15rem; }
svg { width: 100%; height: auto; } text { font: 12px system-ui, sans-serif; fill: #222; }
.bar { fill: #9db7d5; } .ours { fill: #2f6db3; } .spread { stroke: #222; stroke-width: 1; }
.note { color: #666; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } text { fill: #ddd; }
  .bar { fill: #4a6785; } .ours { fill: #6fa8e8; } .spread { stroke: #ddd; } .note { color: #999; } }
"""
_NAMES, _WIDTH, _FIGURES, _LINE = 290, 420, 230, 24


def page(results: Mapping[str, Any], questions: Mapping[str, str], about: Mapping[str, Any]) -> str:
    """`results` by scenario as in the JSON document, `questions` their headings, `about` the rest of it."""
    parts = [f"<h1>Benchmarks</h1><p class=note>{escape(_facts(about))}</p>"]
    parts += [_section(questions[name], found) for name, found in results.items()]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Benchmarks</title>'
        f"<style>{_STYLE}</style>\n<body>\n{body}\n</body></html>\n"
    )


def _facts(about: Mapping[str, Any]) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in about["machine"].items())
    versions = " · ".join(about["versions"].values())
    return f"{versions} · {machine}. Bars are medians; lines go from the fastest run to the slowest."


def _section(question: str, found: Mapping[str, Any]) -> str:
    heading = f"<h2>{escape(question)}</h2>"
    if "rows" not in found:  # bytes, or why there are none
        known = {name: value for name, value in found.items() if isinstance(value, int)}
        skipped = {name: value for name, value in found.items() if not isinstance(value, int)}
        base = next(iter(known.values()), 0) or 1
        bars = [(name, value / 1e6, value / 1e6, value / 1e6, value / base) for name, value in known.items()]
        return heading + _chart(bars, "MB") + _skipped(skipped)
    rows = found["rows"]
    bars = [(row["case"], row["median"], row["lowest"], row["highest"], row["ratio"]) for row in rows]
    return heading + _chart(bars, "ms") + _skipped(found["skipped"])


def _skipped(reasons: Mapping[str, object]) -> str:
    return "".join(f"<p class=note>{escape(f'{name}: {reason}')}</p>" for name, reason in reasons.items())


def _chart(bars: list[tuple[str, float, float, float, float]], unit: str) -> str:
    if not bars:
        return ""
    most = max(highest for *_, highest, _ in bars) or 1.0
    height = _LINE * len(bars)
    lines = "".join(_bar(number, bar, most, unit) for number, bar in enumerate(bars))
    return f'<svg viewBox="0 0 {_NAMES + _WIDTH + _FIGURES} {height}" role="img">{lines}</svg>'


def _bar(number: int, bar: tuple[str, float, float, float, float], most: float, unit: str) -> str:
    name, median, lowest, highest, ratio = bar
    top, middle = number * _LINE + 4, number * _LINE + _LINE // 2
    x = {value: _NAMES + _WIDTH * value / most for value in (median, lowest, highest)}
    kind = "bar ours" if number == 0 else "bar"
    said = f"{median:,.1f} {unit} · {ratio:.2f} times"
    return "".join(
        (
            f'<text x="{_NAMES - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{_NAMES}" y="{top}" width="{x[median] - _NAMES:.1f}" height="16"/>',
            f'<line class="spread" x1="{x[lowest]:.1f}" x2="{x[highest]:.1f}" y1="{middle}" y2="{middle}"/>',
            f'<text x="{x[highest] + 8:.1f}" y="{middle + 4}">{said}</text>',
        )
    )
