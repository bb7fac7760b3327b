"""Selecting files of a context and placing them in an image: no store, no container."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nacre.grammars.dockerfile.ignore import Ignore
from nacre.services.build.content import content_by, fingerprint
from nacre.services.build.context import BuildContext
from nacre.services.build.filehash import FileHashes
from nacre.services.build.items import CopyItem, resolve
from nacre.services.build.owner import find_owner
from nacre.services.build.place import CopyOptions, LayerTarget, Owner
from nacre.services.build.select import Selection, select
from nacre.services.build.unpack import Archive
from nacre.words.errors import Conflict, InvalidArchive, NotFound, UsageError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    for name in ("a.txt", "b.txt", "sub/c.txt", "sub/deep/d.py", "sub/deep/e.pyc", "node/x/y", "node/keep/z"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / "link").symlink_to("sub")
    (folder / "out").symlink_to("/etc/hostname")
    (folder / "up").symlink_to("../../../../../a.txt")
    return folder


@pytest.fixture
def opened(tree: Path, tmp_path: Path) -> Iterator[BuildContext]:
    with BuildContext(str(tree), Ignore(), FileHashes(str(tmp_path / "hashes"), str(tree))) as context:
        yield context


def names(chosen: list[Selection]) -> list[list[str]]:
    return [[path.decode() for path, _ in one.files] for one in chosen]


def ignoring(tree: Path, *patterns: str) -> BuildContext:
    return BuildContext(str(tree), Ignore(patterns), FileHashes(str(tree.parent / "hashes"), str(tree)))


class TestSelect:
    def test_folder_gives_its_content(self, opened: BuildContext) -> None:
        (one,) = select(opened, "sub")
        assert one.is_folder
        assert names([one]) == [["", "c.txt", "deep", "deep/d.py", "deep/e.pyc"]]

    def test_pattern(self, opened: BuildContext) -> None:
        found = select(opened, "*.txt")
        assert [one.name for one in found] == [b"a.txt", b"b.txt"]
        assert names(select(opened, "s*/*/*.py")) == [[""]]
        assert select(opened, "*.nothing") == []

    def test_pattern_does_not_cross_a_slash(self, opened: BuildContext) -> None:
        assert select(opened, "*.py") == []

    @pytest.mark.parametrize("word", ["/a.txt", "./a.txt", "sub/../a.txt", "../../a.txt", "link/../a.txt"])
    def test_paths_stay_inside(self, opened: BuildContext, word: str) -> None:
        (one,) = select(opened, word)
        assert one.files[0][1].path == b"a.txt"

    def test_links_are_followed_inside_only(self, opened: BuildContext) -> None:
        assert names(select(opened, "link"))[0][1] == "c.txt"
        assert select(opened, "out") == []
        assert select(opened, "up")[0].files[0][1].path == b"a.txt"
        (everything,) = select(opened, ".")
        kinds = {path: item.kind for path, item in everything.files}
        assert (kinds[b"link"], kinds[b"out"]) == ("symlink", "symlink")

    def test_missing(self, opened: BuildContext) -> None:
        assert select(opened, "nope") == []

    def test_excludes(self, opened: BuildContext) -> None:
        found = names(select(opened, "sub", ("**/*.pyc",)))
        assert found == [["", "c.txt", "deep", "deep/d.py"]]
        found = names(select(opened, "node", ("*", "!keep")))
        assert found == [["", "keep", "keep/z"]]

    def test_parents(self, opened: BuildContext) -> None:
        (one,) = select(opened, "sub/deep/d.py", parents=True)
        assert names([one]) == [["sub", "sub/deep", "sub/deep/d.py"]]
        (one,) = select(opened, "./sub/./deep/*.py", parents=True)
        assert names([one]) == [["deep", "deep/d.py"]]
        (one,) = select(opened, "**/*.py", parents=True)
        assert names([one]) == [["sub", "sub/deep", "sub/deep/d.py"]]

    def test_parents_with_a_pattern_before_the_pivot(self, opened: BuildContext) -> None:
        assert names(select(opened, "[sl]*/./deep/*.py", parents=True)) == [["deep", "deep/d.py"]] * 2
        assert names(select(opened, "[no]ode/*/./?", parents=True)) == [["z"], ["y"]]
        assert select(opened, "a*/./x", parents=True) == []
        assert select(opened, "*.txt/./*", parents=True) == []

    def test_loops_are_refused(self, opened: BuildContext, tree: Path) -> None:
        (tree / "loop").symlink_to("loop")
        with pytest.raises(UsageError, match="too many levels"):
            select(opened, "loop")


class TestIgnore:
    def test_what_is_ignored_is_not_there(self, tree: Path) -> None:
        with ignoring(tree, "sub/deep", "*.txt", "!b.txt") as context:
            assert select(context, "a.txt") == []
            assert context.is_ignored(b"a.txt")
            assert not context.is_ignored(b"nope")
            assert names(select(context, "sub")) == [["", "c.txt"]]
            assert [one.name for one in select(context, "*.txt")] == [b"b.txt"]

    def test_exceptions_inside_ignored_folders(self, tree: Path) -> None:
        with ignoring(tree, "node", "!node/keep") as context:
            assert names(select(context, "node")) == [["", "keep", "keep/z"]]
        with ignoring(tree, "*", "!sub/deep/*.py") as context:
            found = names(select(context, "."))
            assert found == [["", "sub", "sub/deep", "sub/deep/d.py"]]

    def test_link_to_an_ignored_file(self, tree: Path) -> None:
        (tree / "alias").symlink_to("a.txt")
        with ignoring(tree, "a.txt") as context:
            assert select(context, "alias") == []


class TestContent:
    def digest(self, tree: Path, word: str = ".") -> str:
        with ignoring(tree) as context:
            chosen = select(context, word)
            return content_by(
                fingerprint(chosen), context, chosen, context.hashes, lambda content, pieces: None
            )

    def test_times_do_not_matter(self, tree: Path) -> None:
        before = self.digest(tree)
        os.utime(tree / "a.txt", (1, 1))
        assert self.digest(tree) == before

    def test_everything_else_does(self, tree: Path) -> None:
        seen = {self.digest(tree)}
        (tree / "a.txt").write_text("A.TXT")
        seen.add(self.digest(tree))
        (tree / "a.txt").chmod(0o700)
        seen.add(self.digest(tree))
        (tree / "a.txt").rename(tree / "renamed")
        seen.add(self.digest(tree))
        (tree / "link").unlink()
        (tree / "link").symlink_to("node")
        seen.add(self.digest(tree))
        os.link(tree / "renamed", tree / "zz")
        seen.add(self.digest(tree))
        (tree / "zz").unlink()
        (tree / "zz").write_text("A.TXT")
        (tree / "zz").chmod(0o700)
        seen.add(self.digest(tree))
        assert len(seen) == 7

    def test_a_known_file_is_not_read_again(self, tree: Path, tmp_path: Path) -> None:
        item = CopyItem(b"f", "file", 0o644, 0, size=1, stamp=(1, 2, 3, 1))
        hashes = FileHashes(str(tmp_path / "h"), str(tree))
        first = hashes.digest(item, io.BytesIO(b"x"))
        hashes.save()
        again = FileHashes(str(tmp_path / "h"), str(tree))
        assert again.digest(item, None) == first
        item.stamp = (1, 2, 4, 1)
        assert again.digest(item, None) == b""

    def test_a_file_changed_just_now_is_not_remembered(self, tree: Path, tmp_path: Path) -> None:
        now = time.time_ns()
        item = CopyItem(b"f", "file", 0o644, 0, size=1, stamp=(1, now, now, 1))
        hashes = FileHashes(str(tmp_path / "h"), str(tree))
        hashes.digest(item, io.BytesIO(b"x"))
        assert hashes.digest(item, None) == b""

    def test_a_damaged_table_is_ignored(self, tree: Path, tmp_path: Path) -> None:
        hashes = FileHashes(str(tmp_path / "h"), str(tree))
        item = CopyItem(b"f", "file", 0o644, 0, size=1, stamp=(1, 2, 3, 1))
        hashes.digest(item, io.BytesIO(b"x"))
        hashes.save()
        (table,) = (tmp_path / "h").iterdir()
        table.write_bytes(b"\0garbage")
        assert FileHashes(str(tmp_path / "h"), str(tree)).digest(item, None) == b""

    def test_a_change_while_reading_is_noticed(self, opened: BuildContext, tree: Path) -> None:
        item = opened.lookup(b"a.txt")
        assert item is not None
        (tree / "a.txt").write_text("longer than before")
        with pytest.raises(Conflict, match="changed while it was being read"):
            opened.open(item)


def test_context_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="unable to prepare context"):
        BuildContext(str(tmp_path / "nope"), Ignore(), FileHashes(str(tmp_path), ""))


class Image:
    """A tree in memory, as the lower layers of a target and as a source."""

    name = "the image"

    def __init__(self, *items: CopyItem) -> None:
        self.items = {item.path: item for item in items} | {b"": CopyItem(b"", "dir", 0o755, 0)}

    def lookup(self, path: bytes) -> CopyItem | None:
        return self.items.get(path)


def folder(path: str, mode: int = 0o755) -> CopyItem:
    return CopyItem(path.encode(), "dir", mode, 5_000_000_000, uid=7, gid=8)


def link(path: str, target: str) -> CopyItem:
    return CopyItem(path.encode(), "symlink", 0o777, 0, link=target.encode())


def file(path: str, text: str = "old") -> CopyItem:
    return CopyItem(path.encode(), "file", 0o644, 0, size=len(text))


LOWER = (
    folder("usr"),
    folder("usr/lib", 0o711),
    link("lib", "usr/lib"),
    link("var", "/nowhere/var"),
    file("f"),
)


def placed(
    context: BuildContext, word: str, destination: str, *lower: CopyItem, **terms: object
) -> dict[str, str]:
    """What a COPY puts where: `kind mode uid` by path."""
    target = LayerTarget(Image(*(lower or LOWER)).lookup, CopyOptions(**terms))
    for one in select(context, word):
        target.put(one, destination.encode(), context.open)
    return shown(target)


def shown(target: LayerTarget) -> dict[str, str]:
    return {
        entry.path.decode(): f"{entry.kind} {entry.mode:o} {entry.uid}"
        for entry, _ in target.entries()
    }  # fmt: skip


class TestPlace:
    @pytest.mark.parametrize(
        ("destination", "expected"),
        [
            ("/x", ["x"]),
            ("/x/", ["x", "x/a.txt"]),
            ("/usr", ["usr", "usr/a.txt"]),
            ("/usr/new/y", ["usr", "usr/new", "usr/new/y"]),
            ("/lib/", ["usr", "usr/lib", "usr/lib/a.txt"]),
            ("/lib", ["usr", "usr/lib", "usr/lib/a.txt"]),
            ("/lib/z/", ["usr", "usr/lib", "usr/lib/z", "usr/lib/z/a.txt"]),
            ("/var/z/", ["nowhere", "nowhere/var", "nowhere/var/z", "nowhere/var/z/a.txt"]),
            ("/f", ["f"]),
            ("/", ["a.txt"]),
        ],
    )
    def test_where_a_file_goes(self, opened: BuildContext, destination: str, expected: list[str]) -> None:
        assert sorted(placed(opened, "a.txt", destination)) == expected

    def test_folders_above_are_kept_as_they_were(self, opened: BuildContext) -> None:
        found = placed(opened, "a.txt", "/lib/new/")
        assert found["usr"] == "dir 755 7"
        assert found["usr/lib"] == "dir 711 7"
        assert found["usr/lib/new"] == "dir 755 0"

    def test_where_a_folder_goes(self, opened: BuildContext) -> None:
        below = ["c.txt", "deep", "deep/d.py", "deep/e.pyc"]
        assert sorted(placed(opened, "sub", "/x")) == ["x", *(f"x/{name}" for name in below)]
        assert sorted(placed(opened, "sub", "/")) == below
        assert sorted(placed(opened, "link", "/usr/")) == ["usr", *(f"usr/{name}" for name in below)]

    @pytest.mark.parametrize(
        ("word", "destination", "message"),
        [
            ("sub", "/f", "cannot copy to non-directory: /f"),
            ("a.txt", "/f/", "/f is not a directory"),
            ("a.txt", "/f/x", "/f is not a directory"),
        ],
    )
    def test_refused(self, opened: BuildContext, word: str, destination: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            placed(opened, word, destination)

    def test_a_file_does_not_replace_a_folder_below(self, opened: BuildContext) -> None:
        with pytest.raises(UsageError, match=r"cannot replace to directory /d/c\.txt with file"):
            placed(opened, "sub", "/d", folder("d"), folder("d/c.txt"))
        with pytest.raises(UsageError, match="cannot copy to non-directory: /d/deep"):
            placed(opened, "sub", "/d", folder("d"), link("d/deep", "/tmp"))

    def test_chown_and_chmod(self, opened: BuildContext) -> None:
        found = placed(opened, "sub", "/x", owner=Owner(5, 6), mode="700")
        assert set(found.values()) == {"dir 700 5", "file 700 5"}

    def test_symbolic_chmod(self, opened: BuildContext) -> None:
        found = placed(opened, "sub", "/new/x", mode="u=rwX,go=")
        assert found["new"] == "dir 755 0"
        assert found["new/x/deep"] == "dir 700 0"
        assert found["new/x/c.txt"] == "file 600 0"

    def test_names_that_layers_cannot_hold(self, opened: BuildContext, tree: Path) -> None:
        (tree / ".wh.x").write_text("")
        with pytest.raises(UsageError, match=r"must not begin with \.wh\."):
            placed(opened, ".", "/x")

    def test_hard_links_stay_together(self, opened: BuildContext, tree: Path) -> None:
        os.link(tree / "sub/c.txt", tree / "sub/a-first")
        target = LayerTarget(Image().lookup, CopyOptions())
        target.put(select(opened, "sub")[0], b"/x/", opened.open)
        entries = {entry.path: entry for entry, _ in target.entries()}
        assert entries[b"x/a-first"].kind == "file"
        assert (entries[b"x/c.txt"].kind, entries[b"x/c.txt"].link) == ("hardlink", b"x/a-first")

    def test_times(self, opened: BuildContext, tree: Path) -> None:
        os.utime(tree / "a.txt", ns=(0, 9_700_000_000))
        for clamp, expected in ((None, 9), (4_000_000_000, 4)):
            target = LayerTarget(Image(*LOWER).lookup, CopyOptions(time_ns=3_000_000_000, clamp_ns=clamp))
            target.put(select(opened, "a.txt")[0], b"/usr/new/", opened.open)
            times = {entry.path: entry.mtime_ns // 1_000_000_000 for entry, _ in target.entries()}
            assert times[b"usr/new/a.txt"] == expected
            assert times[b"usr/new"] == 3


def archive(*members: tuple[str, bytes, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.uid, info.gid, info.mode = kind, 11, 12, 0o640
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = text
            info.size = len(text) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def unpacked(context: BuildContext, tree: Path, data: bytes, destination: str = "/x/") -> LayerTarget:
    (tree / "a.tgz").write_bytes(data)
    item = context.lookup(b"a.tgz")
    assert item is not None
    found = Archive.of(context, item, str(tree.parent))
    assert found is not None
    target = LayerTarget(Image(*LOWER).lookup, CopyOptions())
    try:
        found.put(target, destination.encode())
        contents = {e.path: r.read(1 << 20) if r else b"" for e, r in target.entries()}
    finally:
        found.close()
    target.contents = contents  # type: ignore[attr-defined]
    return target


class TestUnpack:
    def test_members_keep_owner_and_mode(self, opened: BuildContext, tree: Path) -> None:
        data = archive(("d/f", tarfile.REGTYPE, "hello"), ("l", tarfile.SYMTYPE, "d/f"))
        target = unpacked(opened, tree, data)
        found = shown(target)
        assert found["x/d/f"] == "file 640 11"
        assert found["x/d"] == "dir 755 0"
        assert found["x/l"].startswith("symlink")
        assert target.contents[b"x/d/f"] == b"hello"  # type: ignore[attr-defined]

    def test_links_in_the_image_are_followed_on_the_way(self, opened: BuildContext, tree: Path) -> None:
        found = shown(unpacked(opened, tree, archive(("lib/f", tarfile.REGTYPE, "x")), "/"))
        assert "usr/lib/f" in found

    def test_hard_links(self, opened: BuildContext, tree: Path) -> None:
        data = archive(("b", tarfile.REGTYPE, "text"), ("a", tarfile.LNKTYPE, "b"))
        target = unpacked(opened, tree, data)
        entries = {entry.path: entry for entry, _ in target.entries()}
        assert entries[b"x/a"].kind == "file"
        assert (entries[b"x/b"].kind, entries[b"x/b"].link) == ("hardlink", b"x/a")
        assert target.contents[b"x/a"] == b"text"  # type: ignore[attr-defined]

    def test_what_is_behind_a_compressed_archive_does_not_count(
        self, opened: BuildContext, tree: Path
    ) -> None:
        data = archive(("f", tarfile.REGTYPE, "one")) + b"x"
        assert unpacked(opened, tree, data).contents[b"x/f"] == b"one"  # type: ignore[attr-defined]

    def test_damage_is_told_with_the_name_of_the_archive(self, opened: BuildContext, tree: Path) -> None:
        noise = "".join(f"{number * 7919 % 100_003}" for number in range(300_000))
        data = archive(("f", tarfile.REGTYPE, noise))
        with pytest.raises(InvalidArchive, match=r"^a\.tgz: gzip stream is truncated$"):
            unpacked(opened, tree, data[: len(data) // 2])

    def test_the_last_of_equal_names_wins(self, opened: BuildContext, tree: Path) -> None:
        data = archive(("f", tarfile.REGTYPE, "one"), ("f", tarfile.REGTYPE, "two"))
        assert unpacked(opened, tree, data).contents[b"x/f"] == b"two"  # type: ignore[attr-defined]

    def test_links_of_the_archive_lead_nowhere_outside(self, opened: BuildContext, tree: Path) -> None:
        data = archive(("up", tarfile.SYMTYPE, "/../../etc"), ("up/f", tarfile.REGTYPE, "x"))
        assert sorted(shown(unpacked(opened, tree, data))) == ["etc", "etc/f", "x", "x/up"]

    def test_a_link_to_nothing_is_refused(self, opened: BuildContext, tree: Path) -> None:
        with pytest.raises(UsageError, match="hard link"):
            unpacked(opened, tree, archive(("a", tarfile.LNKTYPE, "b")))

    @pytest.mark.parametrize("data", [b"", b"text", b"\x1f\x8b\x08\0garbage", b"PK\x03\x04zip"])
    def test_other_files_are_no_archives(self, opened: BuildContext, tree: Path, data: bytes) -> None:
        (tree / "f.tar.gz").write_bytes(data)
        item = opened.lookup(b"f.tar.gz")
        assert item is not None
        assert Archive.of(opened, item, str(tree.parent)) is None


ACCOUNTS = {b"etc/passwd": b"root:x:0:0::/:/\nme:x:5:6::/:/\n", b"etc/group": b"g:x:9:\n"}


class TestOwner:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("me", (5, 6)), ("me:g", (5, 9)), ("7", (7, 7)), ("7:8", (7, 8)), ("root", (0, 0)),
            ("0:g", (0, 9)),
        ],
    )  # fmt: skip
    def test_names_and_numbers(self, text: str, expected: tuple[int, int]) -> None:
        assert find_owner(text, lambda path, _: ACCOUNTS[path]) == Owner(*expected)

    @pytest.mark.parametrize("text", ["you", "me:nobody", "4294967296", "99999999999"])
    def test_unknown_ones(self, text: str) -> None:
        with pytest.raises(UsageError):
            find_owner(text, lambda path, _: ACCOUNTS[path])


def test_resolve_refuses_a_way_through_a_file() -> None:
    with pytest.raises(UsageError, match="/f is not a directory"):
        resolve(Image(*LOWER).lookup, b"/f/x/y")
    assert resolve(Image(*LOWER).lookup, b"/lib/../x")[0] == b"usr/x"
