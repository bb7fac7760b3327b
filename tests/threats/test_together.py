"""Several processes that pull, build, tag, run and remove at the same time in one store lose nothing."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from evil import Image, Layer, leftovers
from fakeregistry import FakeRegistry

WORKERS = 3
ROUNDS = 3


class Worker(threading.Thread):
    """One user: real processes, one after the other, on names of its own; the content is everybody's."""

    def __init__(self, nacre: Any, me: str, reference: str, folder: Path) -> None:
        super().__init__()
        self.nacre, self.me, self.reference, self.folder = nacre, me, reference, folder
        self.complaints: list[str] = []

    def do(self, *words: str) -> Any:
        result = self.nacre(*words, check=False, timeout=120)
        if result.code:
            self.complaints.append(repr(result))
        return result

    def run(self) -> None:
        try:
            for number in range(ROUNDS):
                self.round(number)
        except Exception as error:
            self.complaints.append(repr(error))

    def round(self, number: int) -> None:
        mine = f"{self.me}:{number}"
        self.do("pull", "-q", self.reference)
        self.do("tag", self.reference, mine)
        text = f"FROM {mine}\nCOPY shared /shared\nRUN echo same > /same\nRUN echo {mine} > /mine\n"
        (self.folder / f"{self.me}.Dockerfile").write_text(text)
        self.do(
            "build",
            "-q",
            "-t",
            f"built-{mine}",
            "-f",
            str(self.folder / f"{self.me}.Dockerfile"),
            str(self.folder),
        )
        said = self.do("run", "--rm", f"built-{mine}", "/bin/busybox", "cat", "/shared", "/same", "/mine")
        if said.out != f"shared\nsame\n{mine}\n":
            self.complaints.append(f"{mine}: {said!r}")
        self.do("rmi", mine)
        if number % 2:
            self.do("rmi", f"built-{mine}")
        self.do("system", "prune", "-f")


def test_nothing_is_lost_and_nobody_waits_for_ever(
    nacre: Any, fake: FakeRegistry, busybox_image: str, busybox_tar: bytes, tmp_path: Path
) -> None:
    """What everybody pulls, builds, prunes and removes is partly the same content."""
    del nacre.done  # no forks of one process
    reference = Image(busybox_tar, Layer().file("big", bytes(3 << 20)).bytes()).publish(fake)
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "shared").write_text("shared\n")
    workers = [Worker(nacre, f"worker{number}", reference, folder) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(800)
    assert [worker.complaints for worker in workers] == [[]] * WORKERS
    kept = {f"built-worker{n}:{r}" for n in range(WORKERS) for r in range(ROUNDS) if not r % 2}
    rows = [json.loads(row) for row in nacre("images", "--format", "json").lines]
    assert {f"{row['Repository']}:{row['Tag']}" for row in rows} == kept | {reference, busybox_image}
    for name in sorted(kept):
        assert (
            nacre("run", "--rm", name, "/bin/busybox", "cat", "/mine").out
            == name.removeprefix("built-") + "\n"
        )
        nacre("save", "-o", "/dev/null", name)
    assert nacre("ps", "-aq").out == ""
    nacre("system", "prune", "-f")
    assert leftovers(nacre.root) == []
    index = json.loads((nacre.root / "index.json").read_bytes())
    assert len(index["manifests"]) == len(rows)


def test_one_blob_is_fetched_once(
    nacre: Any, fake: FakeRegistry, busybox_image: str, busybox_tar: bytes
) -> None:
    """Two pulls of the same image at the same time: the second waits for the blobs of the first."""
    image = Image(busybox_tar, Layer().file("big", bytes(2 << 20)).bytes())
    reference = image.publish(fake)
    pulls = [nacre.start("pull", "-q", reference) for _ in range(3)]
    for pull in pulls:
        out, err = pull.communicate(timeout=120)
        assert pull.returncode == 0, (out, err)
    for layer in image.manifest["layers"]:
        assert len(fake.sent("GET", layer["digest"])) <= 1
