"""`nacre builder du` and `prune`, and the limit that the build cache keeps by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nacre.images.audit.cacheusage import CacheLimits, CacheRecord, described, doomed

MIB = 1 << 20


def record(name: str, used: float, stored: int = MIB, **more: Any) -> CacheRecord:
    return CacheRecord(name, "regular", (name,), stored, used, used, **more)


RECORDS = [
    record("new", 9000), record("old", 1000), record("shared", 10, shared=True),
    record("busy", 20, in_use=True), record("leaf", 2001).replace(used=2000.0),
    record("root", 1999).replace(used=2000.0), record("empty", 5, 0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "free", "gone"),
    [
        ((0, 0, 0), 0, ["new", "old", "shared", "leaf", "root", "empty"]),
        ((4 * MIB, 0, 0), 0, []),
        ((3 * MIB, 0, 0), 0, ["old"]),
        ((2 * MIB, 0, 0), 0, ["old", "leaf"]),
        ((1, 0, 0), 0, ["old", "leaf", "root", "new"]),
        ((1, 3 * MIB, 0), 0, ["old"]),
        ((0, 2 * MIB, 0), 0, ["old", "leaf"]),
        ((0, 0, 10 * MIB), 10 * MIB, []),
        ((0, 0, 10 * MIB), 9 * MIB, ["old"]),
        ((2 * MIB, 0, 10 * MIB), 9 * MIB, ["old", "leaf"]),
        ((0, 4 * MIB, 10 * MIB), 0, []),
    ],
)
def test_what_goes_for_a_limit(limits: tuple[int, int, int], free: int, gone: list[str]) -> None:
    """The least recently used first, of one build the last step; nothing that frees no bytes."""
    found = doomed(RECORDS, CacheLimits(*limits), free, lambda _: True)
    assert [one.id for one in found] == gone


def test_what_is_picked_is_all_that_goes() -> None:
    found = doomed(RECORDS, CacheLimits(1), 0, lambda one: one.id in ("new", "busy"))
    assert [one.id for one in found] == ["new"]


def test_what_a_step_is_called() -> None:
    assert described('[2,"RunKey",{"argv":["/bin/sh","-c","make all"]}]') == "RUN make all"
    assert described('[2,"CopyKey",{"destination":"/a"}]') == "COPY to /a"
    assert described("nonsense") == described("[]") == described('[2,"RunKey",{}]') == ""


def size(project: Any) -> int:
    rows = [json.loads(line) for line in project.nacre("builder", "du", "--format", "json").lines]
    return len([row for row in rows if row["Type"] == "regular"])


def test_the_cache_is_listed_and_pruned(project: Any) -> None:
    nacre = project.nacre
    for number in range(3):
        text = (
            f"FROM busybox:test\nRUN --mount=type=cache,target=/c head -c 3000000 /dev/urandom > /{number}\n"
        )
        project.build(text)
    assert size(project) == 3
    shown = nacre("builder", "du").out
    assert shown.startswith("ID ")
    assert "Total:" in shown
    assert shown.count("false") == 3  # each has an image, most of which have no name any more
    nacre("image", "prune", "-f")
    assert nacre("builder", "du").out.count("false") == 1
    assert "RUN head -c 3000000" in nacre("builder", "du", "--verbose", "--filter", "shared=true").out
    assert nacre("builder", "du", "--filter", "size=3", check=False).code == 1
    nacre("builder", "prune", "-f", "--filter", "until=1h")
    assert size(project) == 3
    nacre("builder", "prune", "-f", "--keep-storage", "5MB")
    assert size(project) == 2
    assert "exec.cachemount" in nacre("builder", "du", "--format", "{{.Type}}").out
    nacre("builder", "prune", "-f", "--filter", "type=exec.cachemount")
    assert size(project) == 2
    nacre("builder", "prune", "-af")
    assert nacre("builder", "du", "--format", "json").lines == []


def test_the_cache_keeps_its_limit(project: Any) -> None:
    for number in range(3):
        text = f"FROM busybox:test AS a\nRUN head -c 3000000 /dev/urandom > /{number}\nFROM scratch\n"
        text += f"COPY --from=a /bin/sh /{number}\n"
        project.build(text, NACRE_BUILD_CACHE="7MB")
    kept = size(project)
    assert kept < 6
    project.build(text)
    assert "nothing changed" in project.build(text).err
