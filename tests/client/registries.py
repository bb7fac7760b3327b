"""docker's registry, as a process."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

_CONFIG = """
version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:0"}}
"""


def registry_process(folder: Path, more: str = "") -> Iterator[str]:
    """`host:port` of a docker-registry that keeps its data in `folder`; `more` is added to its config."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    (folder / "config.yml").write_text(_CONFIG.format(root=folder / "data") + more)
    with subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(rb"listening on (127\.0\.0\.1:\d+)", line)
            if found:
                break
        else:
            pytest.fail("docker-registry did not start")
        drain = threading.Thread(target=_drain, args=(process.stderr,), daemon=True)
        drain.start()
        yield found[1].decode()
        process.terminate()
        process.wait(60)
        drain.join()  # nobody may close what it reads


def _drain(stream: IO[bytes]) -> None:
    while stream.read(1 << 16):
        pass
