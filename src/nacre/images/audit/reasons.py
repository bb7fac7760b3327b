"""Why a file is probably another one each time that an image is built, from the two that were made."""

from __future__ import annotations

from .compare import Difference, differences

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...stores.trees.reading.view import Found
    from ..model.image import Image

_MAX = 4 << 20
"""Bytes of a file that are looked at."""
_DAY = 86400
_KNOWN = {
    b"var/log/": "a log", b"var/cache/ldconfig/aux-cache": "inode numbers and times in a cache of ldconfig",
    b"var/lib/apt/lists/": "lists of a package archive, which change with time",
    b"etc/machine-id": "a random id", b"etc/ssh/ssh_host_": "a random key",
    b"var/lib/systemd/random-seed": "a random seed", b"var/lib/dbus/machine-id": "a random id",
}  # fmt: skip


_FORMS = (
    "%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%b %d %Y", "%d %b %Y", "%b %d, %Y",
)  # fmt: skip


class ReasonedDifference(Difference):
    """A path that differs between two builds, and the probable cause."""

    reason: str = ""


def reasoned(
    one: Image, other: Image, when: tuple[float, float], names: Sequence[bytes] = ()
) -> Iterator[ReasonedDifference]:
    """What differs between two builds, with causes.

    `when` is from when until when the builds went on, `names` are words that only one of them knew: host
    names. A folder that counts only for what is in it is left out. Raises as `differences`.
    """
    with one.store.trees.open(one.diff_ids) as left, other.store.trees.open(other.diff_ids) as right:
        for found in differences(one, other):
            if found.kind == "C" and not found.changed:
                continue
            old, new = left.lookup(found.path, follow=False), right.lookup(found.path, follow=False)
            why = _reason(found, old, new, (when, names))
            yield ReasonedDifference(found.kind, found.path, found.changed, why)


def dated(image: Image, second: float) -> Iterator[bytes]:
    """Files that a RUN has written with the date of a day: another day makes others, and the next minute not.

    Raises NotFound, StoreError.
    """
    days = _days(second)
    entries = [entry for entry in image.config.history if not entry.get("empty_layer")]
    for entry, diff_id in zip(entries, image.diff_ids, strict=False):
        if str(entry.get("created_by", "")).startswith("RUN "):
            with image.store.trees.open([diff_id]) as view:
                yield from (found.path for found in view.walk() if _holds(found, days))


def _holds(found: Found, words: Sequence[bytes]) -> bool:
    if found.kind != "file":
        return False
    head = _head(found)
    return any(word in head for word in words)


def _days(second: float) -> list[bytes]:
    """The date of a second in UTC, as programs write it."""
    import time

    return [time.strftime(form, time.gmtime(second)).encode() for form in _FORMS]


def _reason(
    found: Difference, old: Found | None, new: Found | None, told: tuple[tuple[float, float], Sequence[bytes]]
) -> str:
    known = next((text for path, text in _KNOWN.items() if found.path.startswith(path)), "")
    if found.kind != "C" or old is None or new is None:
        return known or "a random or dated name"
    if "content" in found.changed:
        return known or of_content(found.path, _head(old), _head(new), told)
    if "owner" in found.changed:
        return "another owner: a user id that was given out by chance"
    if "time" in found.changed:
        return "the time of writing"
    return "another " + ", ".join(found.changed)


def _head(found: Found) -> bytes:
    with found.open() as file:
        pieces, size = [], 0
        while size < _MAX and (data := file.read(1 << 20)):
            pieces.append(data)
            size += len(data)
    return b"".join(pieces)


def of_content(path: bytes, old: bytes, new: bytes, told: tuple[tuple[float, float], Sequence[bytes]]) -> str:
    """The probable cause that a file has another content; `told` are `when` and `names` of `reasoned`."""
    when, names = told
    if path.endswith((b".pyc", b".pyo")):
        return "byte code that holds the time of its source" if old[16:] == new[16:] else "byte code"
    if old[:2] == new[:2] == b"\x1f\x8b" and old[:4] + old[8:] == new[:4] + new[8:]:
        return "a timestamp in the header of gzip"
    if any((name in old) != (name in new) for name in names):
        return "the host name"
    if len(old) == len(new) and sorted(old.split(b"\n")) == sorted(new.split(b"\n")):
        return "the order of lines"
    if len(old) == len(new) and sorted(old) == sorted(new):
        return "the order of entries"
    if _is_dated(old, new, when):
        return "a timestamp in the content"
    return "random content"


def _is_dated(old: bytes, new: bytes, when: tuple[float, float]) -> bool:
    """Whether the first bytes that differ are part of a time, as text or as a number."""
    at = next((n for n, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), -1)
    if at < 0:
        return False
    start = max(at - 24, 0)
    texts = [data[start : at + 24].decode("latin-1") for data in (old, new)]
    return all(_has_clock(text) or _has_second(text, when) for text in texts) or all(
        _has_number(data[max(at - 7, 0) : at + 8], when) for data in (old, new)
    )


def _has_clock(text: str) -> bool:
    """Something like 12:34:56 or 2026-01-31."""
    import re

    return bool(re.search(r"\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d|\d{8}T?\d{6}", text))


def _has_second(text: str, when: tuple[float, float]) -> bool:
    import re

    found = (int(digits[:10]) for digits in re.findall(r"\d{10,}", text))
    return any(when[0] - _DAY <= second <= when[1] + _DAY for second in found)


def _has_number(data: bytes, when: tuple[float, float]) -> bool:
    """Whether four bytes of it are a second of these days, in any order of bytes."""
    found = (
        int.from_bytes(data[n : n + 4], order) for n in range(len(data) - 3) for order in ("little", "big")
    )
    return any(when[0] - _DAY <= second <= when[1] + _DAY for second in found)
