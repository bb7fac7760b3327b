"""Makes the pictures of the README: python docs/pictures/make.py, where nacre is installed.

demo.svg    a recording of `nacre demo`: its own output, one line after the other, at a pace that can be read
bytes.svg   where the bytes of an image go: what the tour's two versions take on the way and on the disk
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
ROWS, COLUMNS, LINE, CHAR = 26, 124, 18, 7.8
WIDTH, HEIGHT = int(COLUMNS * CHAR) + 32, ROWS * LINE + 28
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace"
PAUSES = {"#": 1.6, "$": 1.1, "": 0.09}
"""Seconds that a line stays the last one, by how it begins."""
LOOK = {"#": "#e3b341", "$": "#7ee787", "": "#c9d1d9"}
BARS = ("#3fb950", "#388bfd", "#a371f7")


def nacre(*words: str, **variables: str) -> str:
    """What a command prints, on both streams."""
    program = Path(sys.executable).with_name("nacre")
    done = subprocess.run(
        [program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
        env={**os.environ, **variables},
    )  # fmt: skip
    return done.stdout


def kind(line: str) -> str:
    """How a line begins, as a key of PAUSES."""
    return line[0] if line[:2] in ("# ", "$ ") else ""


def recording(text: str) -> str:
    """The lines in a window, which move up one by one."""
    lines = [line[:COLUMNS] for line in text.rstrip().split("\n")]
    moments, now = [], 0.0
    for line in lines:
        moments.append(now)
        now += PAUSES[kind(line)]
    total = now + 4
    steps = "".join(
        f"{100 * moment / total:.3f}%{{transform:translateY({(ROWS - number) * LINE}px)}}"
        for number, moment in enumerate(moments, 1)
    )
    shown = "".join(
        f'<text y="{number * LINE}" fill="{LOOK[kind(line)]}">{escape(line)}</text>'
        for number, line in enumerate(lines, 1)
        if line
    )
    style = (
        f"text{{font:13px {FONT};white-space:pre}}"
        f".roll{{animation:roll {total:.1f}s step-end infinite}}@keyframes roll{{{steps}}}"
    )
    place = f"x='16' y='8' width='{WIDTH - 32}' height='{ROWS * LINE + 8}' xml:space='preserve'"
    inner = f"<svg {place}><g class='roll'>{shown}</g></svg>"
    ground = f"<rect width='{WIDTH}' height='{HEIGHT}' rx='8' fill='#0d1117'/>"
    return f"<style>{style}</style>{ground}{inner}"


def plain(text: str) -> str:
    """Without what differs from one recording to the next."""
    text = re.sub(r"/tmp/nacre-demo-\w+", "/tmp/tour", text)
    ports = iter(("8001", "8002", "5001"))
    names: dict[str, str] = {}
    return re.sub(
        r"(127\.0\.0\.1:|PORT=)(\d{5})",
        lambda found: found[1] + names.setdefault(found[2], next(ports, found[2])), text,
    )  # fmt: skip


def amount(text: str) -> float:
    """`17.8MB` in bytes."""
    number, unit = re.fullmatch(r"([\d.]+)(k|M|G|)B", text).groups()  # type: ignore[union-attr]
    return float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[unit]


def measured(text: str) -> list[tuple[str, str]]:
    """(what, how much) of the tour, as it says so itself."""
    sent = re.findall(r"^Sent ([\d.]+[kMG]?B)", text, re.M)
    fetched = re.findall(r"^Fetched ([\d.]+[kMG]?B)", text, re.M)
    images = re.search(r"^Images: ([\d.]+[kMG]?B)", text, re.M)
    sizes = re.findall(r"hello +\d +\w+ +.*?ago +([\d.]+[kMG]?B)", text)
    assert (len(sent), len(fetched), len(sizes)) == (2, 2, 2), text
    assert images, text
    return [
        ("hello:1, unpacked", sizes[0]), ("hello:2, unpacked", sizes[1]),
        ("both in the store, compressed too", images[1]),
        ("push of hello:1", sent[0]), ("push of hello:2, one line changed", sent[1]),
        ("pull of hello:1 into an empty store", fetched[0]), ("pull of hello:2 after it", fetched[1]),
    ]  # fmt: skip


def bars(rows: list[tuple[str, str]]) -> tuple[str, int]:
    """A bar for each, and the height of all."""
    most = max(amount(value) for _, value in rows)
    parts = [f"<style>text{{font:13px {FONT};fill:#c9d1d9}}</style>"]
    height = len(rows) * 28 + 28
    parts.append(f"<rect width='{WIDTH}' height='{height}' rx='8' fill='#0d1117'/>")
    for number, (what, value) in enumerate(rows):
        y = 32 + number * 28
        length = max(2, round((WIDTH - 430) * amount(value) / most))
        colour = BARS[(number > 1) + (number > 2)]
        parts.append(f"<text x='16' y='{y}'>{escape(what)}</text>")
        parts.append(f"<rect x='310' y='{y - 12}' width='{length}' height='16' rx='2' fill='{colour}'/>")
        parts.append(f"<text x='{318 + length}' y='{y}'>{value}</text>")
    return "".join(parts), height


def write(name: str, content: str, height: int, title: str) -> None:
    """One picture."""
    text = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img'>"
        f"<title>{escape(title)}</title>{content}</svg>\n"
    )
    (HERE / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Both of them."""
    with tempfile.TemporaryDirectory() as folder:
        text = plain(nacre("demo", TMPDIR="/tmp", HOME=folder))
    write("demo.svg", recording(text), HEIGHT, "A recording of nacre demo")
    write("bytes.svg", *bars(measured(text)), "Where the bytes of two versions of an image go")


if __name__ == "__main__":
    main()
