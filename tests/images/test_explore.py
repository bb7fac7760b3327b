"""`nacre explore` and `tree`, and the survey beneath them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nacre.images.audit.explore import LayerPath, survey

Nacre = Any


def surveyed(*layers: list[LayerPath]) -> Any:
    return survey(layers, [f"sha256:{n:064x}" for n in range(len(layers))], [""] * len(layers))  # type: ignore[misc]


def test_what_is_overwritten_or_deleted_is_wasted() -> None:
    found = surveyed(
        [
            LayerPath(b"d", "dir"),
            LayerPath(b"d/a", "file", 10),
            LayerPath(b"d/b", "file", 20),
            LayerPath(b"x", "file", 5),
        ],
        [
            LayerPath(b"d", "dir"),
            LayerPath(b"d/a", "file", 11),
            LayerPath(b"d/b", "whiteout"),
            LayerPath(b"x", "dir"),
        ],
        [LayerPath(b"d", "whiteout"), LayerPath(b"y", "file", 1)],
    )
    assert (found.size, found.seen, found.wasted) == (47, 1, 46)
    assert [(w.path, w.layer, w.hidden_by, w.how) for w in found.waste] == [
        (b"d/b", 0, 1, "deleted"), (b"d/a", 1, 2, "deleted"), (b"d/a", 0, 1, "overwritten"),
        (b"x", 0, 1, "overwritten"),
    ]  # fmt: skip
    assert [use.wasted for use in found.layers] == [35, 11, 0]


def test_an_opaque_folder_hides_what_is_below_and_not_its_own() -> None:
    found = surveyed(
        [LayerPath(b"d", "dir"), LayerPath(b"d/old", "file", 7)],
        [LayerPath(b"d", "dir", opaque=True), LayerPath(b"d/new", "file", 3)],
    )
    assert (found.seen, found.wasted) == (3, 7)
    assert found.folders == ((b"", 3), (b"d", 3))


def test_empty_files_are_no_copies() -> None:
    layers = [
        [LayerPath(b"a", "file"), LayerPath(b"l", "symlink")],
        [LayerPath(b"a", "file"), LayerPath(b"l", "symlink")],
    ]
    ids: Any = ["sha256:" + "0" * 64] * 2
    assert survey(layers, ids, ["", ""], lambda gone: True).waste == ()


def test_a_copy_for_the_owner_is_told_apart() -> None:
    layers = [[LayerPath(b"d/a", "file", 10), LayerPath(b"d/b", "file", 20)]] * 2
    ids: Any = ["sha256:" + "0" * 64] * 2
    found = survey(layers, ids, ["", ""], lambda gone: gone.path == b"d/a")
    assert [(w.path, w.how) for w in found.waste] == [(b"d/b", "overwritten"), (b"d/a", "copied")]
    assert (found.copied, found.lost) == (10, ((b"", 30), (b"d", 30)))
    assert found.heaviest() == [(b"d", 30, 30)]
    assert found.largest() == [(b"d", 30)]


def test_hard_links_count_once_and_live_by_any_name() -> None:
    layer = [LayerPath(b"a", "file", 9, content=1), LayerPath(b"b", "file", 9, content=1)]
    assert surveyed(layer).size == 9
    assert surveyed(layer, [LayerPath(b"a", "whiteout")]).wasted == 0
    assert surveyed(layer, [LayerPath(b"a", "whiteout"), LayerPath(b"b", "file", 1)]).wasted == 9


_PATHS = st.sampled_from([b"a", b"a/b", b"a/b/c", b"d", b"d/e"])
_ITEMS = st.builds(
    LayerPath,
    _PATHS,
    st.sampled_from(["file", "dir", "whiteout"]),
    st.integers(0, 5),
    st.booleans(),
    st.integers(0, 2),
)


@given(st.lists(st.lists(_ITEMS, max_size=5), max_size=4))
def test_sums_are_true(layers: list[list[LayerPath]]) -> None:
    found = surveyed(*layers)
    assert found.size == found.seen + found.wasted == sum(use.size for use in found.layers)
    assert dict(found.folders).get(b"", 0) == found.seen
    assert found.wasted == sum(w.size for w in found.waste) == dict(found.lost).get(b"", 0)


def test_depth_is_no_matter() -> None:
    deep = b"/".join([b"d"] * 3000)
    assert surveyed([LayerPath(deep, "file", 1)], [LayerPath(b"d", "whiteout")]).wasted == 1


def test_explore_an_image(nacre: Nacre, busybox_image: str) -> None:
    nacre(
        "run",
        "--name",
        "one",
        busybox_image,
        "sh",
        "-c",
        "head -c 5000 /bin/busybox > /srv/big; ln /srv/big /srv/again",
    )
    nacre("commit", "one", "first")
    nacre("run", "--name", "two", "first", "sh", "-c", "rm /srv/*; head -c 100 /bin/busybox > /srv/small")
    nacre("commit", "two", "second")
    found = nacre("explore", "--format", "json", "second").json
    assert [layer["Size"] for layer in found["Layers"]][1:] == [5000, 100]
    assert found["Wasted"] == 5000
    waste = found["Waste"][0]
    assert waste.pop("Path") in ("/srv/again", "/srv/big")
    assert waste == {"Size": 5000, "Layer": 1, "HiddenBy": 2, "How": "deleted"}
    assert found["Seen"] == sum(f["Size"] for f in found["Folders"] if f["Path"] == "/")
    assert [share["Image"] for share in found["Shares"]] == ["first:latest", busybox_image]
    assert found["Layers"][0]["SharedWith"] == [busybox_image, "first:latest"]
    lines = nacre("explore", "second").lines
    assert lines[0].endswith("in 3 layers, 5kB wasted")
    assert any("deleted in 2" in line for line in lines)
    assert nacre("explore", busybox_image).lines[0].endswith("in 1 layer, nothing wasted")
    tree = nacre("tree", "second").lines
    assert tree[1:4] == ["Tags:     second:latest", f"Size:     {tree[2].split()[1]}", "Image Layers"]
    assert tree[4].endswith(f"Top Layer of: [{busybox_image}]")
    assert tree[6].startswith("└── ID: ")
    assert nacre("explore", "ghost", check=False).err == "nacre: No such image: ghost:latest\n"


def test_explore_tells_what_a_mode_cost(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "--name", "one", busybox_image, "chmod", "700", "/bin/busybox")
    nacre("commit", "one", "first")
    found = nacre("explore", "--format", "json", "first").json
    assert found["Copied"] == found["Wasted"] == found["Layers"][1]["Size"]
    assert [(w["Path"], w["How"]) for w in found["Waste"]] == [("/bin/busybox", "copied")]
    assert [f["Wasted"] for f in found["Folders"] if f["Path"] == "/bin"] == [found["Wasted"]]
    assert " of it to change owner or mode" in nacre("explore", "first").lines[0]
