"""Getting rid of a store, and looking at its files as containers do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tarkit import tar_of

from nacre.ground import userns
from nacre.ground.files import Lock


@pytest.fixture
def busy(nacre: Any, busybox_tar: bytes) -> Any:
    """A store with something of everything."""
    nacre("import", "--change", "ENV PATH=/bin", "-", "box:1", input=busybox_tar)
    (nacre.folder / "Dockerfile").write_text(
        "FROM box:1\nRUN --mount=type=cache,target=/c echo > /c/x; echo > /x\n"
    )
    nacre("build", "-q", "-t", "built:1", ".")
    nacre("volume", "create", "data")
    nacre("run", "-d", "--name", "runs", "-v", "data:/d", "box:1", "sh", "-c", "echo > /d/f; exec sleep 1000")
    nacre("create", "--name", "stands", "box:1", "true")
    nacre("copy", "-q", "nacre:box:1", f"oci:{nacre.folder}/layout:1")
    nacre("manifest", "create", "localhost:1/list:1", check=False)
    return nacre


def pids_of(root: Path) -> list[str]:
    """Processes whose command line names the store, or that run in its containers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            if str(root).encode() in line:
                found.append(line.decode())
    return found


def test_reset(busy: Any) -> None:
    said = busy("system", "reset", "-f")
    assert said.out.startswith("Total reclaimed space: ")
    assert said.err == ""
    assert not busy.root.exists()
    assert pids_of(busy.root) == []
    assert busy("images", "-q").out == ""
    assert (busy.folder / "layout/index.json").exists()


def test_it_asks(nacre: Any) -> None:
    nacre("import", "-", "app:1", input=tar_of(f=b"x"))
    for answer in ("", "n\n", "no\n"):
        said = nacre("system", "reset", input=answer)
        assert "WARNING! This will remove:" in said.out
        assert f"  - the store {nacre.root}\n" in said.out
        assert nacre("images", "-q").lines
    nacre("system", "reset", input="y\n")
    assert not nacre.root.exists()


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_without_a_database(nacre: Any, how: str) -> None:
    nacre("import", "-", "app:1", input=tar_of(f=b"x"))
    for path in nacre.root.glob("nacre.db*"):
        path.unlink()
    if how == "damaged":
        (nacre.root / "nacre.db").write_bytes(b"x" * 5000)
    nacre("system", "reset", "-f")
    assert not nacre.root.exists()


def test_what_is_no_store(nacre: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    layout = tmp_path / "layout"
    layout.mkdir()
    (layout / "oci-layout").write_text("{}")
    for folder, why in (
        (tmp_path / "mine", "is not a store"),
        (layout, "is not a store"),
        (tmp_path / "absent", "there is no store"),
    ):
        nacre.root = folder
        said = nacre("system", "reset", "-f", check=False)
        assert said.code == 1
        assert why in said.err
    assert (tmp_path / "mine" / "thesis.txt").exists()
    assert (layout / "oci-layout").exists()


def test_a_registry_is_no_store(nacre: Any, tmp_path: Path) -> None:
    nacre.root = tmp_path / "registry"
    server = nacre.start("registry", "serve", "--quiet", "--addr", "127.0.0.1:0", "--root", str(nacre.root))
    server.stdout.readline()
    server.terminate()
    server.communicate(timeout=30)
    said = nacre("system", "reset", "-f", check=False)
    assert (said.code, "holds a registry, not a store" in said.err) == (1, True)
    assert (nacre.root / "registry.db").exists()


def test_what_somebody_else_put_there_stays(nacre: Any) -> None:
    nacre("import", "-", "app:1", input=tar_of(f=b"x"))
    (nacre.root / "thesis.txt").write_text("mine")
    said = nacre("system", "reset", "-f")
    assert said.err == f"WARNING: {nacre.root}/thesis.txt was not created by nacre and is kept\n"
    assert os.listdir(nacre.root) == ["thesis.txt"]


def test_while_somebody_works(nacre: Any) -> None:
    nacre("import", "-", "app:1", input=tar_of(f=b"x"))
    with Lock(str(nacre.root / "leases" / "somebody")):
        said = nacre("system", "reset", "-f", check=False)
    assert said.code == 1
    assert "is in use by 1 other command\n" in said.err
    assert nacre("images", "-q").lines
    nacre("system", "reset", "-f")


def test_after_a_kill(nacre: Any) -> None:
    """What marks it as a store goes last."""
    from nacre.ground.files import install_trace
    from nacre.stores.reset import reset

    nacre("import", "-", "app:1", input=tar_of(f=b"x"))
    pid = os.fork()
    if pid == 0:
        install_trace(lambda name: os._exit(9) if name == "reset:emptied" else None)
        userns.attempt()
        reset(str(nacre.root), lambda _folder: None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert nacre.root.exists()
    nacre("system", "reset", "-f")
    assert not nacre.root.exists()


def test_a_mounted_container(nacre: Any, busybox_tar: bytes) -> None:
    if not userns.mapped():
        pytest.skip("a mount that others see needs root")
    nacre("import", "-", "box:1", input=busybox_tar)
    nacre("mount", "box:1")
    nacre("system", "reset", "-f")
    assert not nacre.root.exists()
    assert str(nacre.root) not in Path("/proc/mounts").read_text()


# unshare


@pytest.fixture
def ordinary(nacre: Any) -> Any:
    """The command line of an ordinary user who may make user namespaces."""
    if os.geteuid() == 0:
        pytest.skip("an ordinary user's case")
    if userns.call(userns.current).denied:
        pytest.skip("no user namespace here")
    return nacre


def test_unshare_is_not_for_root(nacre: Any) -> None:
    if os.geteuid():
        pytest.skip("root's case")
    said = nacre("unshare", "true", check=False)
    assert (said.code, said.err) == (
        125, "nacre: 'nacre unshare' is for ordinary users: root needs no user namespace\n",
    )  # fmt: skip


def test_unshare(ordinary: Any) -> None:
    assert ordinary("unshare", "id", "-u").out == "0\n"
    assert ordinary("unshare", "sh", "-c", 'echo "$NACRE_ROOT"').out == f"{ordinary.root}\n"
    assert ordinary("unshare", input="id -u\n", SHELL="/bin/sh").out == "0\n"
    assert ordinary("unshare", "sh", "-c", "exit 7", check=False).code == 7
    missing = ordinary("unshare", "no-such-program", check=False)
    assert (missing.code, "executable file not found in $PATH" in missing.err) == (127, True)
    assert ordinary("unshare", "/etc/passwd", check=False).code == 126
    assert ordinary("unshare", "sh", "-c", "yes | head -1; kill -PIPE $$", check=False).code in (-13, 141)


def test_the_store_is_the_same_inside(ordinary: Any, busybox_tar: bytes) -> None:
    ordinary("import", "-", "box:1", input=busybox_tar)
    inside = subprocess.run(
        ordinary.command("unshare", sys.executable, "-P", "-m", "nacre", "images", "-q"),
        env=ordinary.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert inside.stdout == ordinary("images", "-q").out
    assert inside.stdout


def test_a_mount_inside(ordinary: Any, busybox_tar: bytes) -> None:
    ordinary("import", "-", "box:1", input=busybox_tar)
    if ordinary("info", "--format", "{{.Driver}}").out.strip() != "overlay":
        pytest.skip("no mount here")
    refused = ordinary("mount", "box:1", check=False)
    assert "`nacre unshare`" in refused.err
    words = ordinary.command("mount", "box:1")
    script = 'at=$("$@") && ls "$at/bin/sh" && echo seen'
    inside = subprocess.run(
        ordinary.command("unshare", "sh", "-c", script, "sh", *words),
        env=ordinary.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert inside.stdout.endswith("seen\n"), inside
