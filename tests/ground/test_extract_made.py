"""Every way to write through a link: what comes of it beneath a folder; nothing beside it is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from layermaker import LINKS, Case, Place, Shown, cases, fold, tar, together
from treemaker import DELETE, OVERLAY, folder, seen

from nacre.ground.extract import Form, apply
from nacre.words.errors import InvalidArchive

FORMS = {"overlay": OVERLAY, "delete": DELETE}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


class Host:
    """A folder beside the roots that must stay as it is."""

    def __init__(self, path: Path) -> None:
        self.path = path / "outside"
        (self.path / "own").mkdir(parents=True)
        (self.path / "own/file").write_bytes(b"secret")
        (self.path / "own/sub").mkdir()
        self.before = self.state()

    def state(self) -> list[object]:
        """Names, looks and times of change, which even an undone change leaves behind."""
        paths = [self.path, *sorted(self.path.rglob("*"))]
        return [
            (str(path), os.lstat(path)[:5], os.lstat(path).st_ctime_ns, os.listxattr(path)) for path in paths
        ]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    assert made.state() == made.before


def shown(fd: int, form: Form) -> Shown:
    """What lies beneath a folder, as `fold` tells it; whiteouts of the overlay form are not told."""
    found: Shown = {}
    first: dict[bytes, object] = {}
    for entry, data in seen(fd, form):
        looks: object = {"dir": entry.mode, "file": data, "symlink": "-> " + entry.link.decode()}.get(
            entry.kind, entry.kind
        )
        looks = first[entry.link] if entry.kind == "hardlink" else looks
        first[entry.path] = looks
        if entry.path and b".wh." not in entry.path:
            found[entry.path.decode()] = looks
    return found


def outcome(case: Case, path: Path, form: Form) -> Shown | None:
    """What is there afterwards, None if it is refused."""
    with folder(path) as (_, fd):
        try:
            apply(BytesIO(tar(case.base + case.members)), fd, form)
        except InvalidArchive:
            return None
        return shown(fd, form)


@forms
@pytest.mark.parametrize("kind", LINKS)
def test_what_is_written_through_a_link_stays_inside(
    host: Host, tmp_path: Path, kind: str, form: Form
) -> None:
    """All of a kind of link in one archive."""
    (layer,) = together(kind, os.fsencode(host.path), 1)
    with folder(tmp_path) as (_, fd):
        apply(BytesIO(tar(layer)), fd, form)
        assert shown(fd, form) == fold(layer)


@forms
def test_what_is_refused_and_what_the_root_itself_shows(host: Host, tmp_path: Path, form: Form) -> None:
    """One by one, at the root, where `..` ends."""
    wrong = []
    for case in cases("a link", lambda _: Place(outside=os.fsencode(host.path))):
        expected = None if case.refused(1) else fold(*case.layers(1))
        if outcome(case, tmp_path, form) != expected:
            wrong.append((case.name, expected))
    assert wrong == []


@pytest.mark.parametrize("kind", LINKS)
def test_two_layers_in_one_folder(host: Host, tmp_path: Path, kind: str) -> None:
    """What the second removes is gone; its hard links may point into the first."""
    layers = together(kind, os.fsencode(host.path), 2)
    with folder(tmp_path) as (_, fd):
        for layer in layers:
            apply(BytesIO(tar(layer)), fd, DELETE)
        assert shown(fd, DELETE) == fold(*layers)
