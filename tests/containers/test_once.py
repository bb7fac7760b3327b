"""What a command needs to know it asks once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Nacre


def test_create_reads_the_proxies_of_docker_once(nacre: Nacre, busybox_image: str) -> None:
    config = Path(nacre.env["DOCKER_CONFIG"]) / "config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("{")
    done = nacre("create", busybox_image)
    assert done.err.count("its proxies are ignored") == 1


def test_create_tells_bad_options_from_the_rest(nacre: Nacre, busybox_image: str) -> None:
    assert nacre("create", "--memory", "x", busybox_image, check=False).code == 125
    for words in (["--mount", "type=nosuch,target=/x"], ["--cap-add", "nosuch"], ["-w", "relative"]):
        assert nacre("create", *words, busybox_image, "true", check=False).code == 1
    assert nacre("create", "--pull", "never", "nosuch:1", check=False).code == 1
