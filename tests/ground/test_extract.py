"""Layers onto a file system: how entries meet what is there, whiteouts in both forms, and attributes."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from treemaker import (
    CAPABILITY,
    DELETE,
    OPAQUE,
    OVERLAY,
    ROOT,
    SECOND,
    Item,
    directory,
    file,
    folder,
    hardlink,
    paths,
    seen,
    symlink,
    unpack,
    white,
)

from nacre.grammars.tar.entry import Entry
from nacre.stores.trees.forms.owners import OwnersRecorder, RecordedOwner
from nacre.words.errors import InvalidArchive, StoreError

needs_root = pytest.mark.skipif(not ROOT, reason="needs root")
needs_user = pytest.mark.skipif(ROOT, reason="needs an ordinary user")
both_forms = pytest.mark.parametrize("form", [OVERLAY, DELETE], ids=["overlay", "delete"])


def contents(path: Path) -> dict[str, str]:
    """Everything below `path`, as what a reader sees."""
    out = {}
    for above, folders, files in os.walk(path):
        for name in folders + files:
            where = Path(above, name)
            kind = stat.S_IFMT(where.lstat().st_mode)
            text = {stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFCHR: "char"}.get(kind)
            out[str(where.relative_to(path))] = text or where.read_text()
    return out


# --- places


@both_forms
def test_missing_parents_are_made_the_same_everywhere(form: object, tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack([file(b"a/b/c")], fd)
        for name in ("a", "a/b"):
            info = (path / name).stat()
            assert (stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (0o755, 0)


def test_folders_that_are_not_named_keep_their_looks(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack(
            [
                directory(b"", mode=0o711, mtime_ns=SECOND),
                directory(b"d", mode=0o555, mtime_ns=SECOND),
                file(b"d/old"),
            ],
            fd,
        )
        unpack([file(b"d/new"), white(b"d/.wh.old")], fd, DELETE)
        assert contents(path) == {"d": "dir", "d/new": "data"}
        for where in (path, path / "d"):
            assert where.stat().st_mtime_ns == SECOND
        assert stat.S_IMODE((path / "d").stat().st_mode) == 0o555


@both_forms
def test_the_last_entry_of_a_name_wins(form: object, tmp_path: Path) -> None:
    every: dict[str, Item] = {
        "first": file(b"x", b"first"), "second": file(b"x", b"second"), "dir": directory(b"x"),
        "link": symlink(b"x", b"elsewhere"), "fifo": (Entry(b"x", "fifo"), b""),
    }  # fmt: skip
    for before, after in permutations(every, 2):
        with folder(tmp_path) as (_path, fd):
            unpack([every[before], every[after]], fd, form)  # type: ignore[arg-type]
            [(entry, data)] = [item for item in seen(fd) if item[0].path]
            assert (entry.kind, entry.link, data) == (
                every[after][0].kind,
                every[after][0].link,
                every[after][1],
            )


@both_forms
def test_a_file_takes_the_place_of_a_full_folder(form: object, tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack([directory(b"x", mode=0), file(b"x/a/b"), file(b"x/c"), file(b"x")], fd, form)  # type: ignore[arg-type]
        assert contents(path) == {"x": "data"}


def test_folders_merge_and_take_the_new_looks(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        entry = Entry(b"d", "dir", 0o755, xattrs=((b"user.old", b"1"),))
        unpack([(entry, b""), file(b"d/a")], fd)
        unpack([directory(b"d", mode=0o700, mtime_ns=5), file(b"d/b")], fd, DELETE)
        assert contents(path) == {"d": "dir", "d/a": "data", "d/b": "data"}
        assert (path / "d").stat().st_mtime_ns == 5
        assert os.listxattr(path / "d") == []


def test_links_to_folders_are_followed_inside_the_root(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack(
            [
                directory(b"usr/lib"),
                symlink(b"lib", b"/usr/lib"),
                file(b"lib/a"),
                directory(b"lib/d", mode=0o700),
            ],
            fd,
        )
        assert contents(path / "usr") == {"lib": "dir", "lib/a": "data", "lib/d": "dir"}
        assert stat.S_IMODE((path / "usr/lib/d").stat().st_mode) == 0o700


def test_looks_reach_folders_made_through_a_link_that_is_replaced(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        tree = [
            directory(b"b", mode=0o711),
            symlink(b"a", b"b"),
            directory(b"a/d", mode=0o750, mtime_ns=9),
            file(b"a"),
        ]
        unpack(tree, fd)
        info = (path / "b/d").stat()
        assert (stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (0o750, 9)
        assert stat.S_IMODE((path / "b").stat().st_mode) == 0o711


def test_a_folder_takes_the_place_of_a_link_to_a_folder(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack([directory(b"real"), symlink(b"d", b"real"), file(b"d/a"), directory(b"d"), file(b"d/b")], fd)
        assert contents(path) == {"real": "dir", "real/a": "data", "d": "dir", "d/b": "data"}


def test_many_folders_take_few_descriptors(tmp_path: Path) -> None:
    gc.collect()  # or what other tests have left is closed meanwhile
    before = len(os.listdir("/proc/self/fd"))
    with folder(tmp_path) as (_path, fd):
        unpack([file(b"d%d/e/f" % n) for n in range(700)], fd)
        assert len(os.listdir("/proc/self/fd")) == before + 1
        assert len(paths(fd)) == 2100


def test_hard_links(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack(
            [
                file(b"a/x"),
                hardlink(b"b/y", b"a/x"),
                hardlink(b"b/y", b"a/x"),
                symlink(b"s", b"t"),
                hardlink(b"h", b"s"),
            ],
            fd,
        )
        assert (path / "a/x").stat().st_nlink == 2
        assert (path / "h").lstat().st_ino == (path / "s").lstat().st_ino
        unpack([hardlink(b"c", b"a/x")], fd, DELETE)
        assert (path / "c").stat().st_nlink == 3


def test_a_folder_that_is_only_implied_replaces_a_lower_file(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack([file(b"x")], fd)
        unpack([file(b"x/y"), white(b"x/y/.wh.z")], fd, DELETE)
        assert contents(path) == {"x": "dir", "x/y": "data"}


# --- attributes


def test_modes_and_times_are_exact(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        looks = {"mode": 0o6755, "mtime_ns": 1_234_567_890_123_456_789}
        unpack([file(b"f", **looks), directory(b"d", **looks), (Entry(b"p", "fifo", **looks), b"")], fd)  # type: ignore[arg-type]
        for name in ("f", "d", "p"):
            info = (path / name).stat()
            assert (stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (looks["mode"], looks["mtime_ns"])


@needs_root
def test_owners_set_id_bits_and_capabilities_go_together(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        entry = Entry(
            b"ping", "file", 0o6755, 1000, 2_000_000_000, xattrs=((b"security.capability", CAPABILITY),)
        )
        unpack([(entry, b"")], fd)
        info = (path / "ping").stat()
        assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1000, 2_000_000_000, 0o6755)
        assert os.getxattr(path / "ping", "security.capability") == CAPABILITY


@needs_root
def test_devices(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack(
            [
                (Entry(b"null", "char", 0o666, major=1, minor=3), b""),
                (Entry(b"sda", "block", 0o660, major=8, minor=300), b""),
            ],
            fd,
        )
        assert (path / "null").stat().st_rdev == os.makedev(1, 3)
        assert (path / "sda").stat().st_rdev == os.makedev(8, 300)
        assert stat.S_IMODE((path / "null").stat().st_mode) == 0o666


@needs_root
def test_attributes_of_links_are_set_on_the_link(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        entry = Entry(b"link", "symlink", 0o777, 7, 8, 5, link=b"target", xattrs=((b"trusted.x", b"y"),))
        unpack([file(b"target"), (entry, b"")], fd)
        info = (path / "link").lstat()
        assert (info.st_uid, info.st_gid, info.st_mtime_ns) == (7, 8, 5)
        assert os.getxattr(path / "link", "trusted.x", follow_symlinks=False) == b"y"
        assert os.listxattr(path / "target") == []


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    notes = OwnersRecorder(
        {b"old": RecordedOwner(9, 9), b"gone/x": RecordedOwner(9, 9), b"stays": RecordedOwner(9, 9)}
    )
    form = DELETE.replace(owners=False, devices=False, notes=notes)
    tree: list[Item] = [
        file(b"mine"), file(b"theirs", uid=5), directory(b"dir", gid=6),
        (Entry(b"null", "char", 0o666, major=1, minor=3), b""),
        (Entry(b"link", "symlink", 0o777, link=b"x", xattrs=((b"user.no", b""),)), b""),
        file(b"again", uid=5), file(b"again"), hardlink(b"other", b"theirs"), hardlink(b"plain", b"mine"),
        symlink(b"way", b"/there"), file(b"way/x", gid=7), file(b"old"), white(b".wh.gone"),
    ]  # fmt: skip
    with folder(tmp_path) as (path, fd):
        (path / "gone").mkdir()
        (path / "gone/x").touch()
        stats = unpack(tree, fd, form)
        assert {path: (owner.uid, owner.gid, owner.kind) for path, owner in notes.known.items()} == {
            b"theirs": (5, 0, ""), b"other": (5, 0, ""), b"dir": (0, 6, ""), b"null": (0, 0, "char"),
            b"link": (0, 0, ""), b"there/x": (0, 7, ""), b"stays": (9, 9, ""),
        }  # fmt: skip
        assert stats.unkept == 6
        info = (path / "null").stat()
        assert (stat.S_ISREG(info.st_mode), stat.S_IMODE(info.st_mode), info.st_size) == (True, 0o666, 0)


@needs_user
def test_owners_need_rights(tmp_path: Path) -> None:
    with (
        folder(tmp_path) as (_path, fd),
        pytest.raises(StoreError, match="cannot extract 'f': operation not permitted"),
    ):
        unpack([file(b"f")], fd, OVERLAY.replace(owners=True))


def test_attributes_of_overlayfs_never_come_from_an_image(tmp_path: Path) -> None:
    hostile = tuple(
        sorted(
            (prefix + name, b"y")
            for prefix in (b"trusted.overlay.", b"user.overlay.")
            for name in (b"opaque", b"redirect", b"metacopy")
        )
    )
    with folder(tmp_path) as (path, fd):
        unpack([(Entry(b"d", "dir", 0o755, xattrs=hostile), b""), (Entry(b"f", xattrs=hostile), b"")], fd)
        assert os.listxattr(path / "d") == []
        assert os.listxattr(path / "f") == []


def test_attributes_that_the_kernel_refuses_are_the_archives_fault(tmp_path: Path) -> None:
    bad = Entry(b"f", xattrs=((b"security.capability", b"rubbish"),))
    with folder(tmp_path) as (_path, fd), pytest.raises(InvalidArchive, match=r"security\.capability"):
        unpack([(bad, b"")], fd)


# --- whiteouts


def is_opaque(path: Path) -> bool:
    return OPAQUE.decode() in os.listxattr(path)


def test_overlay_whiteouts(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack([white(b"a/.wh.gone"), directory(b"b"), white(b"b/.wh..wh..opq"), file(b"b/new")], fd)
        info = (path / "a/gone").lstat()
        assert stat.S_ISCHR(info.st_mode)
        assert info.st_rdev == 0
        assert is_opaque(path / "b")
        assert not is_opaque(path / "a")
        assert contents(path) == {"a": "dir", "a/gone": "char", "b": "dir", "b/new": "data"}


def test_a_folder_that_replaces_a_lower_one_is_opaque_in_any_order(tmp_path: Path) -> None:
    layer = [white(b".wh.d"), directory(b"d", mode=0o711), file(b"d/new")]
    for items in permutations(layer):
        with folder(tmp_path) as (path, fd):
            unpack(items, fd)
            assert contents(path) == {"d": "dir", "d/new": "data"}
            assert is_opaque(path / "d")
            assert stat.S_IMODE((path / "d").stat().st_mode) == 0o711


def test_a_file_of_the_same_layer_survives_its_whiteout_in_any_order(tmp_path: Path) -> None:
    for items in permutations([white(b".wh.f"), file(b"f")]):
        with folder(tmp_path) as (path, fd):
            unpack(items, fd)
            assert contents(path) == {"f": "data"}


def test_a_device_0_0_is_a_whiteout_for_overlayfs(tmp_path: Path) -> None:
    with folder(tmp_path) as (_path, fd):
        unpack([(Entry(b"f", "char", 0o600), b"")], fd)
        assert paths(fd) == [b".wh.f"]


LOWER = [
    file(b"keep", b"low"), file(b"gone", b"low"), file(b"both", b"low"), file(b"d/old", b"low"),
    file(b"d/sub/old", b"low"), file(b"o/old", b"low"), file(b"o/sub/old", b"low"), symlink(b"link", b"d"),
]  # fmt: skip
UPPER = [
    white(b".wh.gone"), white(b".wh.both"), file(b"both", b"new"), white(b".wh.d"),
    file(b"d/sub/new", b"new"), white(b"o/.wh..wh..opq"), file(b"o/sub/new", b"new"), white(b".wh.link"),
    white(b".wh.nothing"), white(b"no/.wh.x"), white(b"keep/.wh.x"), white(b"none/.wh..wh..opq"),
]  # fmt: skip
MERGED = {
    "keep": "dir", "both": "new", "d": "dir", "d/sub": "dir", "d/sub/new": "new", "o": "dir", "o/sub": "dir",
    "o/sub/new": "new", "no": "dir", "none": "dir",
}  # fmt: skip


@pytest.mark.parametrize("turn", [lambda items: items, reversed, lambda items: items[5:] + items[:5]])
def test_whiteouts_delete_what_is_lower_and_nothing_else(
    turn: Callable[[list[Item]], list[Item]], tmp_path: Path
) -> None:
    with folder(tmp_path) as (path, fd):
        unpack(LOWER, fd)
        unpack(list(turn(UPPER)), fd, DELETE)
        assert contents(path) == MERGED


@pytest.mark.parametrize("mark", [b".wh.x", b".wh..wh..opq", b"y", b"e/y", b"l/y"])
def test_times_of_folders_that_are_not_named_stay(mark: bytes, tmp_path: Path) -> None:
    """Of access as of change: neither looking into a folder nor writing there may show."""
    with folder(tmp_path) as (path, fd):
        unpack([file(b"d/x"), file(b"d/e/z"), symlink(b"d/l", b"e")], fd)
        for name in ("d/e", "d", "."):
            os.utime(path / name, ns=(789 * SECOND + 111, 123 * SECOND + 456))
        unpack([file(b"d/" + mark)], fd, DELETE)
        for name in (".", "d", "d/e"):
            if (path / name).exists():
                info = (path / name).stat()
                assert (info.st_atime_ns, info.st_mtime_ns) == (789 * SECOND + 111, 123 * SECOND + 456)


def test_an_opaque_root_leaves_only_the_layer(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack(LOWER, fd)
        unpack([file(b"d/new", b"new"), white(b".wh..wh..opq")], fd, DELETE)
        assert contents(path) == {"d": "dir", "d/new": "new"}


def test_a_mark_through_a_link_of_lower_layers_makes_nothing(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack([symlink(b"l", b"nowhere"), symlink(b"m", b"d"), file(b"d/x"), file(b"d/y")], fd)
        unpack([white(b"l/.wh.a"), white(b"l/.wh..wh..opq"), white(b"m/.wh.x"), directory(b"l")], fd, DELETE)
        assert contents(path) == {"l": "dir", "m": "link", "d": "dir", "d/y": "data"}


def test_a_whiteout_removes_a_link_and_never_its_target(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack([file(b"d/f"), symlink(b"s", b"d")], fd)
        unpack([white(b".wh.s")], fd, DELETE)
        assert contents(path) == {"d": "dir", "d/f": "data"}


@needs_user
def test_a_user_may_remove_folders_that_forbid_it(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack([directory(b"d", mode=0), directory(b"d/e", mode=0o100), file(b"d/e/f", mode=0)], fd)
        unpack([white(b".wh.d")], fd, DELETE)
        assert contents(path) == {}


def test_old_aufs_metadata_is_ignored(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        unpack(
            [directory(b".wh..wh.plnk"), file(b".wh..wh.plnk/1.2"), white(b".wh..wh.aufs"), file(b"f")], fd
        )
        assert contents(path) == {"f": "data"}


@contextmanager
def joined(upper: Path, lower: Path) -> Iterator[Path]:
    """Two layers as the kernel's overlayfs shows them; skips where it cannot be mounted."""
    from nacre.ground.mounts import detached
    from nacre.words.mount import Overlay

    try:
        mount = detached(Overlay((str(upper), str(lower)), userxattr=False))
    except Exception as error:
        pytest.skip(f"overlayfs cannot be mounted here: {error}")
    try:
        yield Path(f"/proc/self/fd/{mount}")
    finally:
        os.close(mount)


@needs_root
def test_overlayfs_shows_what_deletion_leaves(tmp_path: Path) -> None:
    """The same layers, joined by the kernel and applied one after the other."""
    with (
        folder(tmp_path) as (low, low_fd),
        folder(tmp_path) as (up, up_fd),
        folder(tmp_path) as (one, one_fd),
    ):
        unpack(LOWER, low_fd)
        unpack(UPPER, up_fd)
        unpack(LOWER, one_fd, DELETE)
        unpack(UPPER, one_fd, DELETE)
        with joined(up, low) as mount:
            shown = contents(mount)
        assert shown == contents(one) == MERGED


@st.composite
def layers(draw: st.DrawFn, whiteouts: bool) -> list[Item]:
    """A layer that names all its folders first, with few names, so that two of them meet."""
    found = draw(content_of(b"", 3, whiteouts))
    whites = [item for item in found if b".wh." in item[0].path]
    out = [item for item in found if item not in whites]
    for item in whites:
        out.insert(draw(st.integers(0, len(out))), item)
    return out


@st.composite
def content_of(draw: st.DrawFn, prefix: bytes, depth: int, whiteouts: bool) -> list[Item]:
    kinds = ["file", "link", "dir", "dir"] + (["white", "opaque", "white and dir"] if whiteouts else [])
    items: list[Item] = []
    for name in draw(st.sets(st.sampled_from([b"a", b"b", b"c"]))):
        kind, path = draw(st.sampled_from(kinds)), prefix + name
        if kind == "file":
            items.append(file(path, draw(st.sampled_from([b"1", b"2"]))))
        elif kind == "link":
            items.append(symlink(path, b"nowhere"))
        elif "dir" in kind and depth:
            items += [directory(path), *draw(content_of(path + b"/", depth - 1, whiteouts))]
        if "white" in kind:
            items.append(white(prefix + b".wh." + name))
        if kind == "opaque" and prefix:
            items.append(white(prefix + b".wh..wh..opq"))
    return items


@needs_root
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lower=layers(whiteouts=False), upper=layers(whiteouts=True))
def test_overlayfs_and_deletion_agree(lower: list[Item], upper: list[Item], tmp_path: Path) -> None:
    with (
        folder(tmp_path) as (low, low_fd),
        folder(tmp_path) as (up, up_fd),
        folder(tmp_path) as (one, one_fd),
    ):
        unpack(lower, low_fd)
        unpack(upper, up_fd)
        unpack(lower, one_fd, DELETE)
        unpack(upper, one_fd, DELETE)
        with joined(up, low) as mount:
            assert contents(mount) == contents(one)


@needs_root
def test_a_full_disk_is_named() -> None:
    from nacre.ground.mounts import detached
    from nacre.words.mount import Tmpfs

    try:
        fd = detached(Tmpfs(1 << 16))
    except Exception as error:
        pytest.skip(f"tmpfs cannot be mounted here: {error}")
    try:
        with pytest.raises(StoreError, match="cannot extract 'big': no space left on device"):
            unpack([file(b"big", bytes(1 << 20))], fd)
    finally:
        os.close(fd)


def test_a_whiteout_keeps_what_lies_beside_the_source_of_a_link(tmp_path: Path) -> None:
    """The folder of a lower file that the layer links is the layer's own once it puts something there."""
    with folder(tmp_path) as (_path, fd):
        unpack([file(b"d/x")], fd, DELETE)
        unpack([hardlink(b"a", b"d/x"), file(b"d/y"), white(b".wh.d")], fd, DELETE)
        assert paths(fd, DELETE) == [b"a", b"d", b"d/y"]
