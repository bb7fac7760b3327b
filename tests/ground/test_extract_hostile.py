"""Layers made to harm: nothing outside the root is ever written, changed, removed or read.

Every archive is unpacked beside a folder that must stay as it is. Rows named after an advisory retell what it
describes; see each for the engine it hit.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from treemaker import DELETE, OVERLAY, Item, directory, file, folder, hardlink, pack, symlink, unpack, white

from nacre.grammars.tar.entry import Entry
from nacre.ground.extract import Form, apply
from nacre.words.errors import InvalidArchive, StoreError

both_forms = pytest.mark.parametrize("form", [OVERLAY, DELETE], ids=["overlay", "delete"])


class Ground:
    """A root to attack, `fd`, and beside it what is not to be touched."""

    def __init__(self, path: Path) -> None:
        self.outside, self.root = path / "outside", path / "root"
        self.outside.mkdir(mode=0o700)
        (self.outside / "secret").write_bytes(b"secret")
        (self.outside / "folder").mkdir(mode=0o711)
        self.root.mkdir()
        self.fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        self.before = self.state()

    def state(self) -> list[object]:
        """All that could change outside."""
        found: list[object] = [
            sorted(os.listdir(self.outside.parent)),
            (self.outside / "secret").read_bytes(),
        ]
        for path in (self.outside, self.outside / "secret", self.outside / "folder"):
            info = path.stat()
            found += [
                info.st_mode,
                info.st_uid,
                info.st_gid,
                info.st_mtime_ns,
                info.st_nlink,
                os.listxattr(path),
            ]
        return [*found, sorted(os.listdir(self.outside)), os.listdir(self.outside / "folder")]

    def outcome(self, items: list[Item], form: Form) -> str:
        """Unpack; the message if it is refused. Fails if the outside changed."""
        message = ""
        try:
            unpack(items, self.fd, form)
        except (InvalidArchive, StoreError) as error:
            message = error.message
        assert self.state() == self.before
        return message


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with folder(tmp_path) as (path, _fd):
        made = Ground(path)
        yield made
        os.close(made.fd)


WAYS_OUT = [b"../outside", b"../../outside", b"/../outside", b"/proc/self/cwd", b"/proc/self/root", b".."]


@both_forms
@pytest.mark.parametrize("target", WAYS_OUT)
def test_a_link_and_a_file_through_it(ground: Ground, form: Form, target: bytes) -> None:
    """docker CVE-2014-6407, containers/storage CVE-2024-9676: the link leads into the root or nowhere."""
    for absolute in (target, os.fsencode(ground.outside)):
        ground.outcome(
            [symlink(b"out%d" % len(absolute), absolute), file(b"out%d/secret" % len(absolute), b"x")], form
        )
        ground.outcome(
            [symlink(b"l", absolute), directory(b"l/folder", mode=0o777), white(b"l/.wh.secret")], form
        )
        ground.outcome([symlink(b"l", absolute), white(b"l/.wh..wh..opq"), white(b".wh.l")], form)


@both_forms
@pytest.mark.parametrize("target", WAYS_OUT)
def test_hard_links_through_a_link(ground: Ground, form: Form, target: bytes) -> None:
    """docker CVE-2014-6407: a hard link to a file of the host, then the file is changed through it."""
    tree = [symlink(b"l", target), hardlink(b"mine", b"l/secret"), file(b"mine", b"x", mode=0o777)]
    assert "does not exist" in ground.outcome(tree, form) or "not a directory" in ground.outcome(tree, form)


@both_forms
def test_a_hard_link_to_a_symbolic_link_is_not_followed(ground: Ground, form: Form) -> None:
    """CPython CVE-2025-4330: writing to the second name must not write to the target of the first."""
    out = os.fsencode(ground.outside / "secret")
    assert (
        ground.outcome([symlink(b"a", out), hardlink(b"b", b"a"), file(b"b", b"x", mode=0o777)], form) == ""
    )
    assert (ground.root / "b").read_bytes() == b"x"
    assert (ground.root / "a").is_symlink()


@both_forms
def test_chained_links(ground: Ground, form: Form) -> None:
    """Each step is inside, the sum is not (CPython CVE-2025-4517: longer than the resolver could follow)."""
    chain = [symlink(b"d%d" % n, b"d%d/.." % (n + 1)) for n in range(30)] + [symlink(b"d30", b"..")]
    ground.outcome([*chain, file(b"d0/outside/secret", b"x")], form)
    deep = b"/".join([b"n" * 200] * 18)
    ground.outcome(
        [directory(deep), symlink(b"s", deep + b"/.." * 40), file(b"s/outside/secret", b"x")], form
    )


@both_forms
def test_a_loop_of_links_is_refused(ground: Ground, form: Form) -> None:
    tree = [symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x")]
    assert ground.outcome(tree, form) == "archive entry 'a/x' leads through a loop of symbolic links"


@both_forms
@pytest.mark.parametrize("target", [b"gone", b"/gone", b"../gone", b"no/../gone", b"/../no/such/../../gone"])
def test_what_a_link_leads_to_is_made_inside(ground: Ground, form: Form, target: bytes) -> None:
    tree = [symlink(b"a", target), file(b"a/x/y", b"1"), hardlink(b"a/h", b"a/x/y"), white(b"a/.wh.z")]
    assert ground.outcome(tree, form) == ""
    assert (ground.root / "gone/x/y").read_bytes() == b"1"
    assert (ground.root / "gone/h").stat().st_nlink == 2
    assert sorted(path for path in os.listdir(ground.root)) == ["a", "gone"]


@both_forms
def test_a_file_used_as_a_folder_is_refused(ground: Ground, form: Form) -> None:
    assert "not a directory" in ground.outcome([file(b"a"), file(b"a/x")], form)


@both_forms
@pytest.mark.parametrize("kind", ["symlink", "file", "fifo"])
def test_the_root_stays_a_folder(ground: Ground, form: Form, kind: str) -> None:
    """umoci CVE-2021-29136: an entry "." that is a link; here past the reader, which refuses it itself."""
    from nacre.ground.extract import extract

    entry = Entry(b"", kind, 0o777, link=os.fsencode(ground.outside))
    with pytest.raises(InvalidArchive, match="has no name"):
        extract([(entry, io.BytesIO())], ground.fd, form)
    assert ground.state() == ground.before


@both_forms
def test_modes_and_times_never_reach_the_target_of_a_link(ground: Ground, form: Form) -> None:
    """containerd CVE-2021-32760: chmod through a link."""
    out = os.fsencode(ground.outside / "folder")
    tree = [
        symlink(b"l", out),
        (Entry(b"l", "symlink", 0o777, mtime_ns=1, link=out), b""),
        hardlink(b"m", b"l"),
    ]
    assert ground.outcome(tree, form) == ""
    assert ground.outcome([symlink(b"l", out), directory(b"l", mode=0o777)], form) == ""
    assert ground.outcome([directory(b"d", mode=0o777), symlink(b"d", out)], form) == ""


@both_forms
@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"d/.wh..", b"d/.wh..."])
def test_whiteouts_of_the_root_and_of_parents_are_refused(ground: Ground, form: Form, name: bytes) -> None:
    assert "whiteout without a name" in ground.outcome([directory(b"d"), white(name)], form)


@both_forms
def test_an_opaque_mark_that_is_a_folder(ground: Ground, form: Form) -> None:
    assert ground.outcome([directory(b"d"), directory(b"d/.wh..wh..opq")], form) == ""
    assert os.listdir(ground.root / "d") == []
    assert ground.outcome([file(b"d/.wh..wh..opq/x")], form) == ""  # an ordinary name: not the last
    assert os.listdir(ground.root / "d/.wh..wh..opq") == ["x"]


@both_forms
def test_hard_links_to_nothing_to_folders_and_to_themselves(ground: Ground, form: Form) -> None:
    assert "does not exist" in ground.outcome([hardlink(b"a", b"b")], form)
    assert "does not exist" in ground.outcome([hardlink(b"a", b"a")], form)
    assert "hard link to a directory" in ground.outcome([directory(b"d"), hardlink(b"a", b"d")], form)
    assert ground.outcome([file(b"f", b"same"), hardlink(b"f", b"f")], form) == ""
    assert (ground.root / "f").read_bytes() == b"same"
    assert "does not exist" in ground.outcome([file(b"e/f"), hardlink(b"e", b"e/f")], form)


def test_hard_links_to_whiteouts_are_refused(ground: Ground) -> None:
    assert "does not exist" in ground.outcome([white(b".wh.a"), hardlink(b"b", b"a")], OVERLAY)


@both_forms
def test_an_existing_fifo_is_replaced_and_never_opened(ground: Ground, form: Form) -> None:
    assert ground.outcome([(Entry(b"p", "fifo"), b""), file(b"p", b"x")], form) == ""
    assert stat.S_ISREG((ground.root / "p").stat().st_mode)


@both_forms
@pytest.mark.parametrize("path", [b"n" * 256, b"d/" * 2100 + b"f", b"d/" * 2047 + b"long"])
def test_names_too_long_are_refused(ground: Ground, form: Form, path: bytes) -> None:
    assert "name longer" in ground.outcome([file(path)], form)


@both_forms
def test_very_deep_folders_are_made_and_replaced(ground: Ground, form: Form) -> None:
    assert ground.outcome([directory(b"/".join([b"d"] * 2000)), file(b"d")], form) == ""
    assert os.listdir(ground.root) == ["d"]


def test_a_sparse_file_larger_than_any_disk_is_refused(ground: Ground) -> None:
    huge = Entry(b"huge", size=(1 << 63) - 1, sparse=())
    assert "larger than the file system" in ground.outcome([(huge, b"")], OVERLAY)


def test_an_empty_link_target_is_refused(ground: Ground) -> None:
    with pytest.raises(InvalidArchive, match="target of 0 bytes"):
        unpack([symlink(b"l", b"")], ground.fd)
    assert "name longer" in ground.outcome([symlink(b"l", b"x" * 5000)], OVERLAY)


def test_truncation_at_every_block_is_refused(ground: Ground) -> None:
    tree = [directory(b"d"), file(b"d/a", bytes(700)), file(b"n" * 150), symlink(b"s", b"t" * 150)]
    data = pack(tree)[:-1024]
    whole = {512, 512 + 1536, 512 + 1536 + 2048}
    for end in range(512, len(data), 512):
        if end not in whole:
            with pytest.raises(InvalidArchive, match="truncated"):
                apply(io.BytesIO(data[:end]), ground.fd, OVERLAY)


def test_sizes_that_lie_are_noticed(ground: Ground) -> None:
    from nacre.ground.extract import extract

    with pytest.raises(InvalidArchive, match="'f' is 6 bytes short"):
        extract([(Entry(b"f", size=10), io.BytesIO(b"data"))], ground.fd)


# --- anything at all

words = st.sampled_from(
    [b"a", b"b", b"c", b".wh.a", b".wh.b", b".wh..wh..opq", b".wh..wh.x", b"root", b"outside", b"secret"]
)
some_paths = st.lists(words, min_size=1, max_size=4).map(b"/".join)
targets = st.lists(
    st.sampled_from([b"..", b"a", b"b", b"outside", b"secret", b""]), min_size=1, max_size=5
).map(b"/".join)


@st.composite
def attacks(draw: st.DrawFn) -> Item:
    path, mode = draw(some_paths), draw(st.sampled_from([0, 0o555, 0o777, 0o4755]))
    kind = draw(st.sampled_from(["file", "dir", "symlink", "hardlink", "fifo"]))
    if kind == "symlink":
        return Entry(path, kind, link=draw(targets.filter(bool))), b""
    if kind == "hardlink":
        return Entry(path, kind, link=draw(some_paths)), b""
    data = draw(st.sampled_from([b"", b"data"])) if kind == "file" else b""
    return Entry(path, kind, mode, size=len(data)), data


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.lists(st.lists(attacks(), max_size=8), min_size=1, max_size=3), delete=st.booleans())
def test_no_sequence_of_entries_reaches_outside(
    layers: list[list[Item]], delete: bool, tmp_path: Path
) -> None:
    with folder(tmp_path) as (path, _fd):
        made = Ground(path)
        try:
            for layer in layers:
                with suppress(InvalidArchive):
                    made.outcome(layer, DELETE if delete else OVERLAY)
        finally:
            os.close(made.fd)
