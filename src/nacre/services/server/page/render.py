"""Templates with values become HTML. Everything is escaped unless it was made to be HTML."""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ....words.sizes import human_size
from .location import link

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = os.path.dirname(__file__)
_UNITS = (
    (31_536_000, "year"), (2_592_000, "month"), (604_800, "week"), (86_400, "day"), (3600, "hour"),
    (60, "minute"),
)  # fmt: skip


class Renderer:
    """The templates of this package, read at their first use."""

    def __init__(self) -> None:
        self.static = StaticFiles(f"{FOLDER}/static")
        self._environment = Environment(
            loader=FileSystemLoader(f"{FOLDER}/templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._environment.filters.update(
            size=size,
            age=age,
            moment=moment,
            short=short,
            text=text_of,
            count=count,
            plural=plural,
            breakable=breakable,
        )
        self._environment.globals.update(link=link, static=self.static.path, named=named)

    def __call__(self, template: str, values: Mapping[str, Any]) -> bytes:
        """The HTML of a template."""
        return self._environment.get_template(template).render(values).encode("utf-8", "replace")


class StaticFiles:
    """Style, script and icon, under a path that changes with them, so that nobody has to ask again."""

    def __init__(self, folder: str) -> None:
        self._files: dict[str, bytes] = {}
        for name in sorted(os.listdir(folder)):
            with open(f"{folder}/{name}", "rb") as file:
                self._files[name] = file.read()
        self.version = hashlib.sha256(b"".join(self._files.values())).hexdigest()[:12]

    def path(self, name: str) -> str:
        """Where the file is to be had."""
        return f"/-/static/{self.version}/{name}"

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Content and media type of `VERSION/NAME`, whichever version; None if there is no such file."""
        name = path.rpartition("/")[2]
        data = self._files.get(name)
        return None if data is None else (data, _TYPES[os.path.splitext(name)[1]])


_TYPES = {
    ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}  # fmt: skip


def size(number: float) -> str:
    """Bytes with a space that does not break: `7.4 MB`."""
    written = human_size(number)
    digits = written.rstrip("kMGTPEB")
    return f"{digits}\u202f{written[len(digits) :]}"


def age(moment: float) -> str:
    """How long ago, in the largest unit: `3 days ago`."""
    passed = time.time() - moment
    for length, unit in _UNITS:
        if passed >= length:
            number = int(passed // length)
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


def moment(when: float) -> str:
    """A time as RFC 3339 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(max(0.0, when), 4e9)))


def short(digest: str) -> str:
    """Enough of a digest to tell it from others."""
    algorithm, _, encoded = str(digest).partition(":")
    return encoded[:12] if algorithm == "sha256" else f"{algorithm}:{encoded[:12]}"


def text_of(name: bytes) -> str:
    """Bytes that are a name, as text that shows what is not."""
    return "".join(
        char if char.isprintable() else f"\\x{ord(char):02x}"
        for char in name.decode("utf-8", "backslashreplace")
    )


def count(number: int) -> str:
    """With thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def plural(number: int, one: str, many: str = "") -> str:
    """`1 tag`, `2 tags`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def breakable(name: str) -> Markup:
    """A name of an image that a line may be broken in, where its parts end."""
    return Markup("").join(
        part + Markup("<wbr>") if part in "/:@" else part for part in re.split("([/:@])", name) if part
    )


def named(name: str) -> Markup:
    """A repository's name with its namespace set back."""
    space, slash, last = name.rpartition("/")
    return Markup('<span class="space">{}</span>{}').format(space + slash, last) if slash else escape(name)
