"""A store without its database through the command line: refused with a hint, and repaired."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tarkit import tar_of

NAME = "docker.io/library/app:1"


def lose(root: Path) -> None:
    for path in root.glob("nacre.db*"):
        path.unlink()


def damage(root: Path) -> None:
    """Other bytes in the middle of the file."""
    with (root / "nacre.db").open("r+b") as file:
        for at in range(4096, os.path.getsize(file.fileno()), 4096):
            file.seek(at)
            file.write(b"other bytes" * 20)
    for end in ("-wal", "-shm"):
        (root / f"nacre.db{end}").unlink(missing_ok=True)


def shown(nacre: Any) -> str:
    return str(nacre("inspect", "--format", "{{.Id}} {{.RepoTags}} {{.RootFS}}", "app:1").out)


@pytest.fixture
def full(nacre: Any) -> Any:
    nacre("import", "-", "app:1", input=tar_of(noise=os.urandom(50_000)))
    nacre("volume", "create", "data")
    return nacre


@pytest.mark.parametrize("how", [lose, damage])
def test_refused_then_repaired(full: Any, how: Any) -> None:
    before = shown(full)
    how(full.root)
    for words in (("images",), ("system", "prune", "-af"), ("pull", "x"), ("system", "check"), ("ps",)):
        said = full(*words, check=False)
        assert said.code == 1, words
        assert "`nacre system check --repair`" in said.err, words
    assert NAME in (full.root / "index.json").read_text()
    said = full("system", "check", "--repair")
    assert said.out.startswith("database nacre.db: it ")
    assert "repaired: rebuilt with 1 names, 1 images, 1 trees, 0 containers" in said.out
    assert said.out.endswith("No problems found\n")
    assert full("system", "check").out.endswith("No problems found\n")
    assert shown(full) == before
    assert full("volume", "ls", "-q").lines == ["data"]
    full("system", "prune", "-f")
    assert shown(full) == before


def test_the_digest_stays(full: Any, tmp_path: Path) -> None:
    """How the layer was compressed is found out again."""
    full("save", "-o", "before.tar", "app:1")
    lose(full.root)
    full("system", "check", "--repair")
    assert "saved as" not in full("save", "-o", "after.tar", "app:1").err
    assert (tmp_path / "after.tar").read_bytes() == (tmp_path / "before.tar").read_bytes()


def test_a_container_comes_back(nacre: Any, busybox_tar: bytes) -> None:
    nacre("import", "--change", "ENV PATH=/bin", "-", "box:1", input=busybox_tar)
    nacre("create", "--name", "kept", "box:1", "cat", "/copied")
    (nacre.folder / "f").write_text("copied\n")
    nacre("cp", "f", "kept:/copied")
    lose(nacre.root)
    assert nacre("exec", "kept", "true", check=False).code == 1
    nacre("system", "check", "--repair")
    nacre("system", "check")
    assert nacre("ps", "-a", "--format", "{{.Names}} {{.Image}} {{.Status}}").out == "kept box:1 Created\n"
    assert nacre("start", "-a", "kept").out == "copied\n"


def test_a_container_that_runs_meanwhile(nacre: Any, busybox_tar: bytes) -> None:
    nacre("import", "--change", "ENV PATH=/bin", "-", "box:1", input=busybox_tar)
    nacre("run", "-d", "--name", "busy", "box:1", "sleep", "1000")
    try:
        lose(nacre.root)
        nacre("system", "check", "--repair")
        assert nacre("ps", "--format", "{{.Names}}").out == "busy\n"
    finally:
        nacre("rm", "-f", "busy")
    assert nacre("ps", "-aq").out == ""


def test_check_tells_of_a_database_that_is_behind(full: Any) -> None:
    before = [(path, path.read_bytes()) for path in full.root.glob("nacre.db*")]
    full("import", "-", "late:1", input=tar_of(late=os.urandom(5_000)))
    lose(full.root)
    for path, data in before:
        path.write_bytes(data)
    said = full("system", "check", check=False)
    assert said.code == 1
    assert "database nacre.db: it is out of date: it does not know docker.io/library/late:1" in said.out
    assert full("system", "check", "--repair").out.endswith("No problems found\n")
    full("system", "prune", "-f")
    assert sorted(full("images", "--format", "{{.Repository}}").lines) == ["app", "late"]


def test_the_python_api(full: Any) -> None:
    import nacre
    from nacre.words.errors import DamagedStore

    lose(full.root)
    with pytest.raises(DamagedStore):
        nacre.open_store(str(full.root))
    with nacre.open_store(str(full.root), repair=True) as engine:
        assert engine.check(repair=True).wrong == ()
        assert [image.names for image in engine.images()] == [(NAME,)]
    nacre.open_store(str(full.root / "new"), repair=True).close()
