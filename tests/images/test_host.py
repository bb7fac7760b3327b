"""The image of this machine: what goes in, and that it starts."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
import venv
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.elf import parse_cache, parse_elf
from nacre.grammars.tar.read import read_tar
from nacre.ground.work.pipe import Pipe, copy
from nacre.ground.work.threads import Worker, running
from nacre.images.places.host import HostRoot, Python
from nacre.images.places.hostkey import HostKey
from nacre.images.places.hostlibs import Libraries, read_elf
from nacre.stores.store import Store
from nacre.words.errors import InvalidArchive
from nacre.words.reference import is_host

PROGRAM = os.path.realpath(sys.executable)


def written(layout: HostRoot) -> bytes:
    pipe, out = Pipe(), io.BytesIO()
    with running([Worker(lambda: layout.write(pipe), feeds=pipe)], [pipe]):
        copy(pipe, out.write)
    return out.getvalue()


@pytest.fixture(scope="module")
def layout() -> HostRoot:
    return HostRoot(Python.running())


@pytest.fixture(scope="module")
def tar(layout: HostRoot) -> bytes:
    return written(layout)


def test_the_elf_of_the_interpreter():
    elf = parse_elf(Path(PROGRAM).read_bytes())
    assert elf.interp.startswith("/")
    assert any(name.startswith("libc.") for name in elf.needed)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_a_damaged_elf_is_refused_or_read_but_never_more(junk: bytes, cut: int):
    data = bytearray(Path("/bin/sh").read_bytes()[:20_000])
    data[cut : cut + len(junk)] = junk
    for piece in (bytes(data), bytes(data[: 3 * cut]), junk):
        with suppress(InvalidArchive):
            parse_elf(piece)


@given(st.binary(max_size=500))
def test_a_damaged_loader_cache_is_read_as_far_as_it_goes(junk: bytes):
    parse_cache(junk)
    parse_cache(b"glibc-ld.so.cache1.1" + junk)


def test_the_libraries_are_those_that_the_loader_finds():
    libraries = Libraries()
    assert libraries.add(PROGRAM)
    for name, path in libraries.found.items():
        assert read_elf(path) is not None, name
    ldd = subprocess.run(["ldd", PROGRAM], capture_output=True, text=True, check=False)
    if ldd.returncode:
        pytest.skip("no ldd on this machine to compare with")
    wanted = {os.path.realpath(line.split()[2]) for line in ldd.stdout.splitlines() if " => /" in line}
    assert {os.path.realpath(path) for path in libraries.found.values()} >= wanted


def test_a_program_with_a_missing_library_is_left_out(tmp_path: Path):
    data = Path(PROGRAM).read_bytes()
    name = next(n for n in parse_elf(data).needed if n.startswith("libc.")).encode()
    broken = tmp_path / "broken"
    broken.write_bytes(data.replace(name, b"x" * len(name)))
    libraries = Libraries()
    assert not libraries.add(str(broken))
    assert libraries.found == {}


def test_names_of_the_host():
    assert is_host("host:python3")
    assert is_host("host:other")
    assert not is_host("host/python3")
    assert not is_host("localhost:5000/app")
    assert not is_host("host:5000/app")


def test_it_holds_what_a_small_application_needs(layout: HostRoot):
    python = layout.python
    library = python.home + python.library[len(python.prefix) :]
    program = f"{python.home}/bin/python3"
    for path in (f"{library}/os.py", f"{library}/http/server.py", "/etc/passwd", "/tmp", program):
        assert path in layout.items, path
    unwanted = ("/test/", "/idlelib", ".pyc")
    assert not [path for path in layout.items if any(part in path for part in unwanted)]
    assert layout.items["/tmp"].mode == 0o1777


def test_equal_files_give_equal_bytes(layout: HostRoot, tar: bytes):
    other = HostRoot(Python.running())
    assert other.key() == layout.key()
    assert written(other) == tar


def test_members_are_root_s_have_one_time_and_their_parents_first(layout: HostRoot, tar: bytes):
    seen = {b""}
    for entry, _ in read_tar(io.BytesIO(tar)):
        assert (entry.uid, entry.gid) == (0, 0)
        assert entry.mtime_ns == layout.time * 10**9
        assert entry.path.rpartition(b"/")[0] in seen
        assert entry.kind != "hardlink" or entry.link in seen
        seen.add(entry.path)


def test_nothing_says_whose_machine_it_is(layout: HostRoot):
    home = layout.python.prefix
    if home in ("/usr", "/usr/local"):
        pytest.skip("this interpreter is not in somebody's folder")
    assert not [path for path in layout.items if path.startswith(home)]


def test_inside_a_virtual_environment_it_is_the_base(tmp_path: Path, layout: HostRoot):
    venv.create(tmp_path / "v", with_pip=False, symlinks=True)
    code = "from nacre.images.places.host import Python; print(Python.running().program)"
    import nacre

    source = str(Path(nacre.__file__).parent.parent)
    found = subprocess.run(
        [tmp_path / "v/bin/python", "-c", f"import sys; sys.path.append({source!r}); {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == layout.python.program


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot wants root")
def test_it_runs(tmp_path: Path, tar: bytes):
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path], input=tar, check=True)
    code = "import http.server, json, sqlite3, sys; print(sys.version_info[:2])"
    script = f"mkdir -p /tmp/a && cd /tmp/a && ls -la / | grep -q tmp && exec python3 -c '{code}'"
    done = subprocess.run(
        [shutil.which("chroot") or "/usr/sbin/chroot", tmp_path, "/bin/sh", "-c", script],
        capture_output=True, text=True, check=False, env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.strip() == str(sys.version_info[:2]), done.stderr


def test_an_unchanged_machine_is_not_looked_at_again(store: Store, tmp_path: Path):
    """A change of any file or folder, or a new file where there was none, is seen."""
    (tmp_path / "folder").mkdir()
    file, missing = tmp_path / "folder/file", tmp_path / "missing"

    def known() -> str:
        return HostKey(store, "form").key()

    def remembered() -> None:
        """Kept as soon as the last change is older than the clock's tick."""
        ends = time.monotonic() + 30
        while not known() and time.monotonic() < ends:
            HostKey(store, "form").keep("key", map(str, (file.parent, file, missing)))
        assert known() == "key"
        assert HostKey(store, "another").key() == ""

    file.write_text("1")
    remembered()
    file.write_text("2")
    assert known() == ""
    remembered()
    (tmp_path / "folder/new").touch()
    assert known() == ""
    remembered()
    missing.touch()
    assert known() == ""


def test_what_it_depends_on_is_remembered(layout: HostRoot):
    paths = layout.paths
    assert {layout.python.program, layout.python.library, "/usr/bin", "/etc/ld.so.cache"} <= paths
