"""Commands that change a store, each on a store that is as `prepare` leaves it."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import NamedTuple

sys.path += [str(Path(__file__).parents[1] / room) for room in ("client", "threats")]

from bench import Box
from evil import Image, Layer
from fakeregistry import FakeRegistry

DOCKERFILE = """\
FROM busybox:1
ARG WHO=first
RUN echo $WHO > /x
COPY f /f
RUN --mount=type=cache,target=/c touch /c/y && echo $WHO > /y
"""
"""Times are whole seconds: two builds in one of them would make the same trees, were it not for WHO."""
SHARED = random.Random(1).randbytes(8 << 10)


class Scenario(NamedTuple):
    """One command. `makes`: the name that it makes, if it does. `file`: its standard input.

    `again`: what it says when it is done twice; "" when it works again. `containers`: how many there are
    afterwards. `first`: a command that it needs to have gone before. `proof`: one that works after it only.
    """

    words: tuple[str, ...]
    makes: str = ""
    file: str = ""
    again: str = ""
    containers: int = 2
    first: tuple[str, ...] = ()
    proof: tuple[str, ...] = ()


def write_inputs(folder: Path, busybox: bytes) -> None:
    """What the commands read."""
    image = Image(busybox, Layer().folder("d").file("d/f", b"f" * 3000).bytes())
    files = {
        "busybox.tar": busybox, "layer.tar": Layer().file("f", b"f").link("l", "f").bytes(),
        "lender.tar": _layer(b"lender"), "borrower.tar": _layer(b"borrower"),
        "loaded.tar": image.archive("loaded:1"),
        "keep.tar": Image(busybox, _layer(b"keep")).archive("keep:1"),
        "spare.tar": Image(_layer(b"spare"), _layer(b"more")).archive("spare:1"),
        "dangling.tar": Image(_layer(b"gone")).archive("gone:1"),
    }  # fmt: skip
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "context").mkdir()
    (folder / "context" / "f").write_text("f")
    (folder / "context" / "Dockerfile").write_text(DOCKERFILE)


def _layer(data: bytes) -> bytes:
    """With a file that all such layers have, and one that no other has, both too large to be ignored."""
    layer = Layer().folder("etc").file("etc/what", data).hard("etc/same", "etc/what")
    layer = layer.file("etc/all", SHARED).file("etc/own", random.Random(data).randbytes(64 << 10))
    return layer.file(".wh.srv", b"").bytes()


def prepare(box: Box, busybox: bytes, fake: FakeRegistry) -> dict[str, Scenario]:
    """Fill the store; the scenarios by name."""
    folder = box.zygote.folder
    for name in ("spare", "keep", "dangling"):  # what lies in the first is lent to the next
        box.do("load", "-q", "-i", str(folder / f"{name}.tar"))
    box.do("import", "--change", "ENV PATH=/bin", "-", "busybox:1", **{"in": str(folder / "busybox.tar")})
    box.do("build", "-q", str(folder / "context"))
    for tag in "12":
        box.do("tag", "keep:1", f"{fake.host}/out:{tag}")
    box.do("rmi", "gone:1")
    for name in ("kept", "other"):
        box.do("create", "--name", name, "-v", "used:/v", "busybox:1", "true")
    box.do("cp", str(folder / "context" / "f"), "kept:/copied")
    box.do("volume", "create", "spare")
    pulled = Image(busybox, Layer().file("f", b"f").bytes(), _layer(b"pulled")).publish(fake, "pulled")
    return _scenarios(folder, pulled, f"{fake.host}/out")


def _scenarios(folder: Path, pulled: str, pushed: str) -> dict[str, Scenario]:
    context, shell = str(folder / "context"), ("sh", "-c", "echo > /x; echo > /v/y")
    same = "test $(ls /bin | wc -l) = $(ls /f | wc -l)"
    return {
        "pull": Scenario(("pull", "-q", pulled), pulled),
        "push": Scenario(("push", "-q", f"{pushed}:1"), f"{pushed}:1"),
        "push-zstd": Scenario(("push", "-q", "--compression", "zstd", f"{pushed}:2"), f"{pushed}:2"),
        "copy": Scenario(
            ("copy", "-q", "nacre:keep:1", f"oci:{folder}/layout:1"),
            proof=("copy", "-q", f"oci:{folder}/layout:1", "nacre:again:1"),
        ),
        "build": Scenario(
            ("build", "-q", "--no-cache", "--build-arg", "WHO=second", "-t", "built:1", context), "built:1",
            proof=("run", "--rm", "built:1", "cat", "/x", "/f", "/y"),
        ),
        "import": Scenario(("import", "-", "imported:1"), "imported:1", "layer.tar"),
        "borrow": Scenario(
            ("import", "-", "borrower:1"), "borrower:1", "borrower.tar",
            first=("import", str(folder / "lender.tar"), "lender:1"),
        ),
        "load": Scenario(("load", "-q"), "loaded:1", "loaded.tar"),
        "commit": Scenario(
            ("commit", "kept", "committed:1"), "committed:1",
            proof=("run", "--rm", "committed:1", "cat", "/copied"),
        ),
        **_running(context),
        "tag": Scenario(("tag", "keep:1", "tagged:1"), "tagged:1"),
        "rmi": Scenario(("rmi", "spare:1"), again="No such image"),
        "rm": Scenario(("rm", "other"), again="No such container", containers=1),
        "create": Scenario(
            ("create", "--name", "made", "busybox:1", "true"), again="already in use", containers=3,
            proof=("start", "-a", "made"),
        ),
        "run": Scenario(("run", "--rm", "-v", "used:/v", "busybox:1", *shell)),
        "limit": Scenario(("run", "--rm", "-m", "64m", "busybox:1", "true")),
        "fill": Scenario(
            ("run", "--rm", "-v", "filled:/bin", "-v", "/etc", "busybox:1", "true"),
            proof=("run", "--rm", "-v", "filled:/f", "busybox:1", "sh", "-c", same),
        ),
        "fill-in-place": Scenario(
            ("run", "--rm", "-v", "filled:/bin", "busybox:1", "true"), containers=3,
            first=("create", "--name", "has", "-v", "filled:/v", "busybox:1", "true"),
            proof=("run", "--rm", "-v", "filled:/bin", "busybox:1", "sh", "-c", "ls /bin/yes"),
        ),
        "cp": Scenario(("cp", context, "kept:/to"), proof=("cp", "kept:/to/f", str(folder / "back"))),
        "prune": Scenario(("system", "prune", "-f", "--volumes"), containers=0),
        "builder-prune": Scenario(("builder", "prune", "-a", "-f")),
        "volume-create": Scenario(("volume", "create", "fresh"), proof=("volume", "inspect", "fresh")),
        "volume-describe": Scenario(
            ("volume", "create", "--label", "a=b", "fresh"), proof=("volume", "inspect", "fresh")
        ),
        "volume-rm": Scenario(("volume", "rm", "spare"), again="no such volume"),
        "mount": Scenario(("mount", "keep:1"), proof=("unmount", "keep:1")),
        "unmount": Scenario(("unmount", "kept"), again="is not mounted", first=("mount", "kept")),
    }  # fmt: skip


def _running(context: str) -> dict[str, Scenario]:
    """Commands on a container that runs meanwhile."""
    start = ("run", "-d", "--network", "none", "--name", "up", "busybox:1", "sh", "-c", "sleep 1000 & wait")
    commands = {
        "commit-up": ("commit", "up", "committed:2"),
        "cp-up": ("cp", context, "up:/to"),
        "exec-up": ("exec", "up", "true"),
        "exec-up-detached": ("exec", "-d", "up", "sleep", "1000"),
        "stop-up": ("stop", "-t", "0", "up"),
        "mount-up": ("mount", "up"),
    }
    end = ("rm", "-f", "up")
    return {name: Scenario(words, first=start, proof=end) for name, words in commands.items()}
