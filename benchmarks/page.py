"""One HTML page of results that needs nothing beside it: bars with spread, ratios, versions, machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import floor, log10
from typing import Any, NamedTuple

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2.5rem; font-size: 1.15rem; }
svg { width: 100%; height: auto; } text { font: 12px system-ui, sans-serif; fill: #222; }
.bar { fill: #9db7d5; } .ours { fill: #2f6db3; } .spread { stroke: #222; stroke-width: 1; }
.note { color: #666; } .grid { stroke: #ccc; } .curve { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } text { fill: #ddd; }
  .bar { fill: #4a6785; } .ours { fill: #6fa8e8; } .spread { stroke: #ddd; }
  .grid { stroke: #444; } .note { color: #999; } }
"""
_NAMES, _WIDTH, _FIGURES, _LINE = 300, 330, 330, 24
_KEY = "Bars are medians, lines go from the fastest run to the slowest, ratios are to the first bar."
_LEFT, _HEIGHT, _LABEL = 80, 320, 15
_HUES = (210, 20, 120, 280, 50, 330, 170, 0)

Points = list[tuple[int, float, float, float]]
"""Of one command: size, median, fastest and slowest run in ms, by size."""
Place = Callable[[float, float], tuple[float, float]]


class Bar(NamedTuple):
    """One case; its lengths share a unit with the bars beside it, which `said` names."""

    name: str
    median: float
    lowest: float
    highest: float
    said: str


def page(parts: Sequence[Mapping[str, Any]], questions: Mapping[str, str]) -> str:
    """`parts` are JSON documents of runs: of a scenario the last counts. `questions` are headings."""
    scenarios = {name: (part, found) for part in parts for name, found in part["scenarios"].items()}
    sections = [_section(questions[name], *scenarios[name]) for name in questions if name in scenarios]
    versions = " · ".join(dict.fromkeys(word for part in parts for word in part["versions"].values()))
    note = f"{versions}. {_KEY}"
    body = "\n".join((f"<h1>Benchmarks</h1><p class=note>{escape(note)}</p>", *sections))
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Benchmarks</title>'
        f"<style>{_STYLE}</style>\n<body>\n{body}\n</body></html>\n"
    )


def _section(question: str, part: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    where = ", ".join(f"{name} {value}" for name, value in part["machine"].items())
    return f"<h2>{escape(question)}</h2>{_drawn(found)}<p class=note>{escape(where)}</p>"


def _drawn(found: Mapping[str, Any]) -> str:
    if "rows" not in found:  # bytes, or why there are none
        return _weights(found)
    rows = found["rows"]
    if curves := _curves(rows):
        return _growth(curves) + _skipped(found["skipped"])
    return _chart([_timed(row) for row in rows]) + _skipped(found["skipped"])


def _weights(found: Mapping[str, Any]) -> str:
    known = {name: value / 1e6 for name, value in found.items() if isinstance(value, int)}
    skipped = {name: value for name, value in found.items() if not isinstance(value, int)}
    base = next(iter(known.values()), 0) or 1
    bars = [
        Bar(name, size, size, size, f"{size:,.1f} MB{_times(size / base)}") for name, size in known.items()
    ]
    return _chart(bars) + _skipped(skipped)


def _timed(row: Mapping[str, Any]) -> Bar:
    """By the answer where a row counts answers, else by the run."""
    share, unit = (1e3 / row["count"], "µs each") if row["count"] else (1.0, "ms")
    median, lowest, highest, cpu = (row[name] * share for name in ("median", "lowest", "highest", "cpu"))
    spent = f", CPU {cpu:,.1f}{_times(row['cpu_ratio'])}" if cpu else ""
    return Bar(row["case"], median, lowest, highest, f"{median:,.1f} {unit}{_times(row['ratio'])}{spent}")


def _times(ratio: float) -> str:
    return f" ({ratio:.2f} times)"


def _skipped(reasons: Mapping[str, object]) -> str:
    return "".join(f"<p class=note>{escape(f'{name}: {reason}')}</p>" for name, reason in reasons.items())


def _chart(bars: Sequence[Bar]) -> str:
    if not bars:
        return ""
    most = max(bar.highest for bar in bars) or 1.0
    lines = "".join(_drawn_bar(number, bar, most) for number, bar in enumerate(bars))
    return f'<svg viewBox="0 0 {_NAMES + _WIDTH + _FIGURES} {_LINE * len(bars)}" role="img">{lines}</svg>'


def _drawn_bar(number: int, bar: Bar, most: float) -> str:
    top, middle = number * _LINE + 4, number * _LINE + _LINE // 2
    median, lowest, highest = (_WIDTH * value / most for value in (bar.median, bar.lowest, bar.highest))
    kind = "bar ours" if number == 0 else "bar"
    ends = f'x1="{_NAMES + lowest:.1f}" x2="{_NAMES + highest:.1f}" y1="{middle}" y2="{middle}"'
    return "".join(
        (
            f'<text x="{_NAMES - 8}" y="{middle + 4}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect class="{kind}" x="{_NAMES}" y="{top}" width="{median:.1f}" height="16"/>',
            f'<line class="spread" {ends}/>',
            f'<text x="{_NAMES + highest + 8:.1f}" y="{middle + 4}">{escape(bar.said)}</text>',
        )
    )


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, Points]:
    """Cases that are a command and a size, by command; {} where any is something else."""
    found: dict[str, Points] = {}
    for row in rows:
        command, _, size = row["case"].rpartition(" ")
        if not size.replace(",", "").isdigit():
            return {}
        point = (int(size.replace(",", "")), row["median"], row["lowest"], row["highest"])
        found.setdefault(command, []).append(point)
    return {command: sorted(points) for command, points in found.items()}


def _growth(curves: Mapping[str, Points]) -> str:
    """Time against size, both by powers of ten."""
    sizes = sorted({point[0] for points in curves.values() for point in points})
    times = [time for points in curves.values() for point in points for time in point[1:]]
    low, high = _decade(min(times)), _decade(max(times)) + 1
    wide = log10(sizes[-1] / sizes[0]) or 1.0

    def place(size: float, time: float) -> tuple[float, float]:
        x = _LEFT + (_NAMES + _WIDTH - _LEFT) * log10(size / sizes[0]) / wide
        return x, 10 + _HEIGHT * (high - log10(max(time, 1e-3))) / (high - low)

    parts = []
    for power in range(low, high + 1):
        y = place(sizes[0], 10.0**power)[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_NAMES + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} ms</text>')
    for size in sizes:
        x = place(size, 10.0**low)[0]
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT + 28}" text-anchor="middle">{size:,}</text>')
    ends = sorted((place(points[-1][0], points[-1][1])[1], command) for command, points in curves.items())
    labels, last = {}, 0.0
    for y, command in ends:
        labels[command] = last = max(y, last + _LABEL)
    for number, (command, points) in enumerate(curves.items()):
        parts.append(_curve(command, points, _HUES[number % len(_HUES)], place, labels[command]))
    return f'<svg viewBox="0 0 {_NAMES + _WIDTH + _FIGURES} {_HEIGHT + 40}" role="img">{"".join(parts)}</svg>'


def _curve(command: str, points: Points, hue: int, place: Place, label: float) -> str:
    """A line through the medians, with the spread of each."""
    colour = f"hsl({hue} 60% 50%)"
    at = [place(size, median) for size, median, _, _ in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    parts = [f'<polyline class="curve" stroke="{colour}" points="{path}"/>']
    for size, _, lowest, highest in points:
        (x, top), (_, bottom) = place(size, highest), place(size, lowest)
        ends = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"'
        parts.append(f'<line stroke="{colour}" stroke-width="4" stroke-opacity=".4" {ends}/>')
    text = f"{command} {points[-1][1]:,.1f} ms"
    place_of = f'x="{at[-1][0] + 10:.1f}" y="{label + 4:.1f}"'
    return "".join((*parts, f'<text {place_of} style="fill:{colour}">{escape(text)}</text>'))


def _decade(time: float) -> int:
    return floor(log10(max(time, 1e-3)))
