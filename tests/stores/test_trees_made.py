"""Every way to write through a link, in each tree driver: all show what the rules say, and the kernel too."""

from __future__ import annotations

import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from layermaker import LINKS, Shown, cases, fold, tar, together
from storekit import leftovers
from treekit import Kit

from nacre.ground import mounts
from nacre.stores import Store
from nacre.stores.trees.model import Mode
from nacre.words.digest import Digest
from nacre.words.errors import InvalidArchive, Unsupported
from nacre.words.mount import Overlay

VARIANTS = {
    "overlay": ("overlay", Mode()), "erofs": ("erofs", Mode()), "plain": ("plain", Mode()),
    "overlay-single": ("overlay", Mode(userxattr=True, single=True, devices=False)),
    "plain-single": ("plain", Mode(userxattr=True, single=True, devices=False)),
}  # fmt: skip
OUTSIDE = b"/tmp/nacre-is-never-there"


@pytest.fixture(params=VARIANTS)
def kit(request: pytest.FixtureRequest, store: Store) -> Kit:
    driver, mode = VARIANTS[request.param]
    if not mode.single and os.geteuid():
        pytest.skip("only root may chown")
    made = Kit(store, driver=driver, mode=mode)
    if driver == "erofs" and ", but " in made.driver.why:
        pytest.skip(made.driver.why)
    return made


def viewed(kit: Kit, layers: list[Digest]) -> Shown:
    found: Shown = {}
    with kit.trees.open(layers) as view:
        for each in view.walk():
            looks: Any = each.mode if each.kind == "dir" else each.kind
            if each.kind == "file":
                with each.open() as content:
                    looks = content.read()
            found[each.path.decode()] = "-> " + each.link.decode() if each.kind == "symlink" else looks
    del found[""]
    return found


def on_disk(root: str) -> Shown:
    found: Shown = {}
    for above, folders, files in os.walk(root):
        for path in (Path(above, name) for name in folders + files):
            looks: object = path.lstat().st_mode & 0o7777 if path.is_dir() else "fifo"
            looks = path.read_bytes() if path.is_file() else looks
            found[str(path.relative_to(root))] = f"-> {os.readlink(path)}" if path.is_symlink() else looks
    return found


@pytest.mark.parametrize("count", [1, 2], ids=["one layer", "two layers"])
@pytest.mark.parametrize("kind", LINKS)
def test_every_driver_shows_what_the_rules_say(kit: Kit, kind: str, count: int) -> None:
    layers = together(kind, OUTSIDE, count)
    diff_ids = [kit.trees.ingest(BytesIO(tar(layer))) for layer in layers]
    assert viewed(kit, diff_ids) == fold(*layers)
    for diff_id, layer in zip(diff_ids, layers, strict=True):
        with suppress(Unsupported), kit.trees.tar(diff_id) as kept:  # a folder that lost a file has no tar
            assert kept.read() == tar(layer)
    assert not os.path.exists(OUTSIDE)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_kernel_shows_it_too(kit: Kit) -> None:
    layers = together("a link", OUTSIDE, 2)
    active = kit.actives.prepare("k", [kit.trees.ingest(BytesIO(tar(layer))) for layer in layers])
    if not isinstance(active.mount, Overlay):
        assert on_disk(active.upper) == fold(*layers)
        return
    fd = mounts.detached(active.mount)
    try:
        assert on_disk(f"/proc/self/fd/{fd}/.") == fold(*layers)
    finally:
        os.close(fd)


def test_every_driver_refuses_the_same(kit: Kit) -> None:
    """By one sentence that names the entry, and leaves nothing."""
    refused = [case for kind in LINKS for case in cases(kind) if case.refused(1)]
    assert len(refused) > 80
    for case in refused:
        (layer,) = case.layers(1)
        with pytest.raises(InvalidArchive, match=r"^archive entry '"):
            kit.trees.ingest(BytesIO(tar(layer)))
    assert [path for path in leftovers(kit.root) if not path.startswith("leases/")] == []
    assert set(os.listdir(f"{kit.root}/trees")) <= {".empty"}
