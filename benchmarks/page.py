"""One HTML page of results that needs nothing beside it: bars with spread, ratios, versions, machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import floor, log10
from typing import Any

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
_NAMES, _WIDTH, _FIGURES, _LINE = 290, 420, 230, 24
_LEFT, _HEIGHT, _LABEL = 80, 320, 15
_HUES = (210, 20, 120, 280, 50, 330, 170, 0)

Points = list[tuple[int, float, float, float]]
"""Of one command: size, median, fastest and slowest run in ms, by size."""
Place = Callable[[float, float], tuple[float, float]]


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
    if curves := _curves(rows):
        return heading + _growth(curves) + _skipped(found["skipped"])
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
