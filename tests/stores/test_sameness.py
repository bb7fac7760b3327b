"""What a step touched and did not change is not in its layer; what it copied for nothing is told."""

from __future__ import annotations

import io
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from storekit import file, folder, layer, link
from treekit import Kit

from nacre.grammars.tar.read import read_tar
from nacre.ground import mounts, userns
from nacre.stores import Store
from nacre.stores.trees.actives import Active
from nacre.stores.trees.forms import owners
from nacre.stores.trees.forms.owners import RecordedOwner
from nacre.stores.trees.model import Mode
from nacre.words.digest import Digest

SECOND = 1_000_000_000
OLD = 1_600_000_000

IMAGE = layer(
    folder("etc", mtime_ns=OLD * SECOND),
    file("etc/conf", b"setting\n" * 100, mtime_ns=OLD * SECOND),
    file("etc/other", b"other\n", mode=0o600, mtime_ns=OLD * SECOND),
    folder("lib", mtime_ns=OLD * SECOND),
    file("lib/a.py", b"import b\n", mtime_ns=OLD * SECOND),
    link("lib/link", "a.py")._replace(mtime_ns=OLD * SECOND),
    file("lib/empty", b"", mtime_ns=OLD * SECOND),
    folder("lib/sub", mode=0o700, mtime_ns=OLD * SECOND),
    file("lib/sub/deep", b"deep", mtime_ns=OLD * SECOND),
)


@pytest.fixture(params=["overlay", "erofs", "single"])
def kit(request: pytest.FixtureRequest, store: Store) -> Kit:
    if request.param != "single" and not userns.mapped():
        pytest.skip("only root may chown")
    mode = Mode(userxattr=True, single=True, devices=False) if request.param == "single" else Mode()
    driver = "erofs" if request.param == "erofs" else "overlay"
    made = Kit(store, driver=driver, mode=mode)
    if driver == "erofs" and ", but " in made.driver.why:
        pytest.skip(made.driver.why)
    return made


class Step:
    """A step over IMAGE, which writes into the upper folder as overlayfs would."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        layers = [kit.trees.ingest(io.BytesIO(IMAGE))]
        self.active: Active = kit.actives.prepare("step", layers)
        self.upper = Path(self.active.upper)
        self.copied: list[tuple[bytes, int]] = []

    def up(self, path: str) -> Path:
        """Copy a file up as it is, its folders before it."""
        with self.kit.trees.open(self.active.layers) as view:
            for above in [*reversed(Path(path).parents)][1:]:
                found = view.lookup(bytes(above))
                assert found is not None
                if not (self.upper / above).exists():
                    (self.upper / above).mkdir()
                    (self.upper / above).chmod(found.mode)
            found = view.lookup(path.encode(), follow=False)
            assert found is not None
            made = self.upper / path
            if found.kind == "symlink":
                os.symlink(found.link, made)
            elif found.kind == "dir":
                made.mkdir()
            else:
                with found.open() as content:
                    made.write_bytes(content.read())
            if found.kind != "symlink":
                made.chmod(found.mode)
            os.utime(made, ns=(found.mtime_ns, found.mtime_ns), follow_symlinks=False)
        return made

    def names(self, clamp: int | None = None) -> list[str]:
        """What is in the layer, folders with a slash."""
        unchanged, foreseen = self.kit.actives.compare(self.active)
        seen = {path.decode() for path in unchanged}
        before = {str(path.relative_to(self.upper)) for path in self.upper.rglob("*")}
        self.copied = self.kit.actives.drop_unchanged(self.active, clamp=clamp)
        assert self.copied == foreseen or clamp is not None
        gone = before - {str(path.relative_to(self.upper)) for path in self.upper.rglob("*")}
        assert gone == seen or clamp is not None
        out = io.BytesIO()
        diff_id = self.kit.actives.commit(self.active, out.write, clamp=clamp)
        assert Digest.of(out.getvalue()) == diff_id
        entries = [entry for entry, _ in read_tar(io.BytesIO(out.getvalue()))]
        with self.kit.trees.open([*self.active.layers, diff_id]) as view:
            own = {path for path, _ in view.own()} - {b""}
            assert own == {entry.path for entry in entries if not entry.path.endswith(b".wh..wh..opq")}
        return [entry.path.decode() + "/" * (entry.kind == "dir") for entry in entries]


@pytest.fixture
def step(kit: Kit) -> Step:
    return Step(kit)


def test_what_was_opened_or_given_its_own_owner(step: Step) -> None:
    for path in ("etc/conf", "etc/other", "lib/link", "lib/empty", "lib/sub/deep"):
        step.up(path)
    assert (step.names(), step.copied) == ([], [])


def test_touched_and_written_again(step: Step) -> None:
    step.up("etc/conf").touch()
    (step.up("lib/a.py")).write_bytes(b"import b\n")
    assert (step.names(), step.copied) == ([], [])


def test_time_counts_beside_a_change(step: Step) -> None:
    """Else a .pyc made in the same step would be older than its module says."""
    step.up("lib/a.py").touch()
    step.up("etc/conf").touch()
    (step.upper / "lib/__pycache__").mkdir()
    (step.upper / "lib/__pycache__/a.pyc").write_bytes(b"code")
    assert step.names() == ["lib/", "lib/__pycache__/", "lib/__pycache__/a.pyc", "lib/a.py"]


def test_a_time_that_was_set_counts(step: Step) -> None:
    os.utime(step.up("etc/conf"), (5, 5))
    assert step.names() == ["etc/", "etc/conf"]


def test_times_are_compared_as_they_are_kept(step: Step) -> None:
    os.utime(step.up("etc/conf"), ns=(0, OLD * SECOND + 7))
    step.up("etc/other").touch()
    (step.upper / "etc/new").touch()
    assert step.names(clamp=OLD) == ["etc/", "etc/new"]


def test_other_bytes_of_the_same_size(step: Step) -> None:
    made = step.up("etc/conf")
    made.write_bytes(made.read_bytes()[:-2] + b"G\n")
    os.utime(made, (OLD, OLD))
    assert (step.names(), step.copied) == (["etc/", "etc/conf"], [])


def test_a_mode_that_copies_bytes_is_told(step: Step) -> None:
    step.up("etc/conf").chmod(0o600)
    step.up("lib/empty").chmod(0o600)
    assert step.names() == ["etc/", "etc/conf", "lib/", "lib/empty"]
    assert step.copied == [(b"etc/conf", 800)]


def test_an_owner_that_copies_bytes_is_told(step: Step) -> None:
    step.up("lib/sub/deep")
    if step.kit.mode.single:
        owners.save(os.path.dirname(step.upper), {b"lib/sub/deep": RecordedOwner(7, 8)})
    else:
        os.chown(step.upper / "lib/sub/deep", 7, 8)
    assert step.names() == ["lib/", "lib/sub/", "lib/sub/deep"]
    assert step.copied == [(b"lib/sub/deep", 4)]


def test_an_attribute_counts(step: Step) -> None:
    os.setxattr(step.up("etc/conf"), "user.note", b"1")
    assert step.names() == ["etc/", "etc/conf"]


@pytest.mark.parametrize("target", ["a.py", "b.py"])
def test_a_link_made_again(step: Step, target: str) -> None:
    step.up("lib/link").unlink()
    os.symlink(target, step.upper / "lib/link")
    assert step.names() == ([] if target == "a.py" else ["lib/", "lib/link"])


def test_another_name_of_a_file_needs_the_file(step: Step) -> None:
    os.link(step.up("etc/conf"), step.upper / "copy")
    assert step.names() == ["copy", "etc/", "etc/conf"]


def test_a_folder_whose_mode_changed(step: Step) -> None:
    step.up("lib/sub/deep")
    (step.upper / "lib/sub").chmod(0o755)
    assert step.names() == ["lib/", "lib/sub/"]


def test_a_folder_made_anew_is_whole(step: Step, kit: Kit) -> None:
    step.up("etc/conf")
    mark = "user" if kit.mode.userxattr else "trusted"
    os.setxattr(step.upper / "etc", f"{mark}.overlay.opaque", b"y")
    assert step.names() == ["etc/", "etc/.wh..wh..opq", "etc/conf"]


def test_another_kind_counts(step: Step) -> None:
    (step.upper / "lib").mkdir()
    (step.upper / "lib/a.py").mkdir()
    (step.upper / "lib/sub").write_bytes(b"")
    assert step.names() == ["lib/", "lib/a.py/", "lib/sub"]


def test_folders_that_go_down_for_ever(kit: Kit) -> None:
    deep = [folder("/".join(["d"] * depth)) for depth in range(1, 300)]
    layers = [kit.trees.ingest(io.BytesIO(layer(*deep)))]
    active = kit.actives.prepare("deep", layers)
    os.makedirs(f"{active.upper}/{'/'.join(['d'] * 299)}", 0o755)
    assert kit.actives.drop_unchanged(active) == []
    assert os.listdir(f"{active.upper}/d") == ["d"]


def bytes_read() -> int:
    """By all system calls of this process."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_large_hole_is_not_read(kit: Kit) -> None:
    layers = [kit.trees.ingest(io.BytesIO(layer(file("disk", bytes(4 << 20)))))]
    active = kit.actives.prepare("step", layers)
    with open(f"{active.upper}/disk", "wb") as disk:
        disk.truncate(4 << 20)
    before = bytes_read()
    assert kit.actives.compare(active) == (frozenset(), [])
    assert bytes_read() - before < 1 << 20


def _look(top: str) -> dict[str, tuple[object, ...]]:
    seen: dict[str, tuple[object, ...]] = {}
    for above, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = os.path.join(above, name)
            info = os.lstat(path)
            data = Path(path).read_bytes() if stat.S_ISREG(info.st_mode) else b""
            seen[path[len(top) :]] = (info.st_mode, info.st_uid, info.st_gid, data)
    return seen


def _scramble(top: str, chance: random.Random) -> None:
    def paths() -> list[str]:
        return [os.path.join(a, name) for a, folders, files in os.walk(top) for name in (*folders, *files)]

    def rewrite(path: str) -> None:
        if stat.S_ISREG(os.lstat(path).st_mode):
            data = Path(path).read_bytes()
            os.unlink(path)
            Path(path).write_bytes(data if chance.random() < 0.7 else data[::-1])

    acts: list[Callable[[str], object]] = [
        os.utime, rewrite, rewrite,
        lambda path: os.chown(path, chance.choice((0, 5)), 0, follow_symlinks=False),
        lambda path: os.path.islink(path) or os.chmod(path, chance.choice((0o700, 0o644))),
        lambda path: os.rename(path, path + "x"),
        lambda path: os.path.isdir(path) or os.unlink(path),
        lambda path: os.path.isdir(path) and Path(path, f"n{chance.random()}").write_bytes(b"new"),
    ]  # fmt: skip
    for _ in range(chance.randrange(1, 12)):
        act = chance.choice(acts)
        try:
            act(chance.choice(paths()))
        except OSError:
            continue


@pytest.mark.parametrize("seed", range(6))
def test_nobody_sees_that_it_was_taken_out(kit: Kit, seed: int) -> None:
    """Whatever a step does: mounted again, all is as before, and the same in the layer."""
    if not userns.mapped() or kit.mode.single:
        pytest.skip("needs root that may mount, and chown")
    layers = [kit.trees.ingest(io.BytesIO(IMAGE))]
    active = kit.actives.prepare("step", layers)
    for round_ in ("before", "after"):
        fd = mounts.detached(active.mount)
        top = f"/proc/self/fd/{fd}"
        if round_ == "before":
            _scramble(top, random.Random(seed))
            before = _look(top)
        else:
            assert _look(top) == before
        os.close(fd)
        kit.actives.drop_unchanged(active)
    diff_id = kit.actives.commit(active, lambda _data: None)
    fd = mounts.detached(kit.trees.view([*layers, diff_id]))
    assert _look(f"/proc/self/fd/{fd}") == before
    os.close(fd)
