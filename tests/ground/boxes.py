"""A root file system of busybox, and running commands in it, for the tests of the sandbox."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from nacre.ground import userns
from nacre.ground.files import remove_tree
from nacre.ground.sandbox import Attachment, Stdio
from nacre.ground.sandbox.launch import run
from nacre.images.model.runtime import RunOptions, runtime_config
from nacre.words.mount import Overlay
from nacre.words.oci import ImageConfig

APPLETS = """
cat chmod echo env grep head hostname id ifconfig kill ln ls mkdir mknod mount printf ps pwd readlink rm
sh sleep sort stat stty test touch trap true tty unshare wc
"""
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/srv:/bin/sh\nbad:x:4294967296:0::/:/bin/sh\n"
GROUP = "root:x:0:\nuser:x:1000:\nextra:x:2000:other,user\n"


class Box:
    """An overlay over a folder of busybox. `run` runs a command in it, in a child that may mount."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lower, self.upper = folder, folder / "lower", folder / "upper"
        for name in ("lower/bin", "lower/etc", "lower/tmp", "lower/root", "upper", "work"):
            (folder / name).mkdir(parents=True)
        program = shutil.which("busybox")
        assert program
        shutil.copy(program, self.lower / "bin/busybox")
        for applet in APPLETS.split():
            (self.lower / "bin" / applet).symlink_to("busybox")
        (self.lower / "etc/passwd").write_text(PASSWD)
        (self.lower / "etc/group").write_text(GROUP)

    @property
    def mount(self) -> Overlay:
        userxattr = os.geteuid() != 0
        return Overlay((str(self.lower),), str(self.upper), str(self.folder / "work"), userxattr)

    def config(self, *command: str, image: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        document = {"os": "linux", "architecture": "amd64", "config": image or {}}
        wanted = RunOptions(command=command, **({"hostname": "box", "environment": ("PATH=/bin",)} | options))
        return runtime_config(ImageConfig.from_json(document), wanted)

    def run(
        self, *command: str, stdin: int = -1, image: dict[str, Any] | None = None, **options: Any
    ) -> tuple[int, str, str]:
        """Exit code, standard output and standard error. Raises what the sandbox raises."""
        return self.run_config(self.config(*command, image=image, **options), stdin)

    def run_config(self, config: dict[str, Any], stdin: int = -1) -> tuple[int, str, str]:
        paths = [self.folder / "out", self.folder / "err"]
        out, err = (os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600) for path in paths)
        try:
            code = userns.call(_run, config, self.mount, Stdio(stdin, out, err))
        finally:
            os.close(out)
            os.close(err)
        return code, paths[0].read_text(), paths[1].read_text()

    def sh(self, script: str, **options: Any) -> str:
        """Standard output of a shell script that must succeed."""
        code, out, err = self.run("sh", "-ec", script, **options)
        assert code == 0, (code, out, err)
        return out


def _run(config: dict[str, Any], mount: Overlay, stdio: Stdio) -> int:
    return run(config, mount, Attachment(stdio, signals=False))


def make_box(folder: Path) -> Box:
    """A box in `folder`; skips where it cannot be."""
    if shutil.which("busybox") is None:
        pytest.skip("busybox is not installed")
    if not userns.mapped():
        try:
            userns.call(userns.enter)
        except Exception as error:
            pytest.skip(f"no user namespace here: {error}")
    return Box(folder)


def remove(folder: Path) -> None:
    """Remove what the box wrote, with the ids it wrote it with."""
    userns.call(remove_tree, str(folder))
