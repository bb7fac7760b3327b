"""Named volumes and the builder's folders: counted, listed, removed, and never while they are used."""

from __future__ import annotations

import re
from typing import Any

from nacre.cli.output import human_size
from nacre.ground import userns
from nacre.ground.files import Lock, disk_usage


def df(nacre: Any, kind: str) -> list[str]:
    """The columns of one kind."""
    (line,) = (line for line in nacre("system", "df").lines if line.startswith(kind))
    return line.removeprefix(kind).split()


def usage(path: str) -> int:
    """Bytes of disk, looked at by who may."""
    found: int = disk_usage(path) if userns.mapped() else userns.call(disk_usage, path)
    return found


def test_create_list_inspect_remove(nacre: Any) -> None:
    assert nacre("volume", "create", "data").out == "data\n"
    assert nacre("volume", "create", "data").out == "data\n"
    (anonymous,) = nacre("volume", "create").lines
    assert len(anonymous) == 64
    table = nacre("volume", "ls").lines
    assert table[0] == "DRIVER    VOLUME NAME"
    assert "local     data" in table
    assert nacre("volume", "ls", "-q", "-f", "name=dat").lines == ["data"]
    (document,) = nacre("volume", "inspect", "data").json
    assert (document["Name"], document["Driver"]) == ("data", "local")
    assert document["Mountpoint"] == f"{nacre.root}/volumes/data"
    missing = nacre("volume", "inspect", "nope", check=False)
    assert (missing.code, missing.err) == (1, "nacre: get nope: no such volume\n")
    assert nacre("volume", "rm", "nope", check=False).code == 1
    assert nacre("volume", "rm", "-f", "nope").code == 0
    assert nacre("volume", "create", "../x", check=False).code == 1
    assert nacre("volume", "prune", "-f").lines[:2] == ["Deleted Volumes:", anonymous]
    assert nacre("volume", "prune", input="n\n").lines[0] == "WARNING! This will remove:"
    assert nacre("volume", "rm", "data").out == "data\n"
    assert nacre("volume", "ls", "-q").out == ""


def test_labels_and_filters(nacre: Any) -> None:
    nacre("volume", "create", "--label", "a=b", "--label", "c", "one")
    nacre("volume", "create", "--label", "a=x", "one")
    nacre("volume", "create", "two")
    (anonymous,) = nacre("volume", "create", "--label", "a=b").lines
    (document,) = nacre("volume", "inspect", "one").json
    assert (document["Labels"], document["Options"]) == ({"a": "b", "c": ""}, None)
    (document,) = nacre("volume", "inspect", anonymous).json
    assert document["Labels"] == {"a": "b", "com.docker.volume.anonymous": ""}
    shown = nacre("volume", "ls", "--format", '{{.Name}} {{.Labels}} {{.Label "a"}}').lines
    assert {"one a=b,c= b", "two  "} < set(shown)
    for words, names in (
        (["label=a"], {"one", anonymous}), (["label=a=b", "label=c"], {"one"}), (["driver=nfs"], set()),
        (["driver=local", "name=o"], {"one", "two"}), (["dangling=false"], set()),
        (["dangling=1", "name=^one$"], {"one"}), (["label=com.docker.volume.anonymous"], {anonymous}),
    ):  # fmt: skip
        filters = [word for one in words for word in ("-f", one)]
        found = {
            name for name in nacre("volume", "ls", "-q", *filters).lines if len(name) < 64 or "a" in words[0]
        }
        assert found == names, words
    assert nacre("volume", "ls", "-f", "size=1", check=False).code == 1
    assert nacre("volume", "prune", "-af", "--filter", "label!=a").lines[1] == "two"
    assert nacre("volume", "prune", "-f", "--filter", "label=c").lines == ["Total reclaimed space: 0B"]
    assert nacre("volume", "prune", "-f", "--filter", "label=a=b").lines[1] == anonymous
    assert nacre("volume", "ls", "-q").out == "one\n"
    nacre("volume", "rm", "one")
    nacre("volume", "create", "one")
    (document,) = nacre("volume", "inspect", "one").json
    assert document["Labels"] is None


def test_what_cannot_be_made(nacre: Any) -> None:
    for words, said in (
        (["-d", "nfs"], "the only volume driver is local, not 'nfs'"),
        (
            ["-o", "type=nfs", "-o", "device=:/", "-o", "o=addr=::1"],
            "volumes of type 'nfs' are not supported",
        ),
        (["-o", "type=tmpfs", "-o", "device=tmpfs"], "volumes of type 'tmpfs' are not supported"),
        (["-o", "colour=red"], 'invalid option: "colour"'),
        (["-o", "device=/x"], 'missing required option: "type"'),
        (["-o", "size=1g"], "quota size requested but no quota support"),
        (["-o", "type=none", "-o", "o=bind", "-o", "device=x"], "must be an absolute path: 'x'"),
        (["x"], "volume name 'x' is too short"),
    ):
        done = nacre("volume", "create", *words, check=False)
        assert (done.code, done.out) == (1, "")
        assert said in done.err
    assert nacre("volume", "ls", "-q").out == ""


def test_a_folder_of_the_host_is_not_counted_and_stays(nacre: Any, tmp_path: Any) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "large").write_bytes(bytes(1 << 20))
    nacre("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={folder}", "vol")
    (document,) = nacre("volume", "inspect", "vol").json
    assert document["Options"] == {"type": "none", "o": "bind", "device": str(folder)}
    assert df(nacre, "Local Volumes")[2] in ("0B", "4.096kB")
    assert nacre("volume", "prune", "-af").lines[1] == "vol"
    assert (folder / "large").exists()


def test_a_volume_in_use_stays(nacre: Any, busybox_image: str) -> None:
    nacre("run", "--name", "box", "-v", "data:/data", busybox_image, "sh", "-c", "echo hello > /data/f")
    refused = nacre("volume", "rm", "data", check=False)
    assert refused.code == 1
    assert refused.err.startswith("nacre: remove data: volume is in use - [")
    assert nacre("volume", "ls", "-q", "-f", "dangling=true").out == ""
    assert df(nacre, "Local Volumes")[:2] == ["1", "1"]
    assert df(nacre, "Local Volumes")[3:] == ["0B", "(0%)"]
    assert nacre("volume", "prune", "-af").out == "Total reclaimed space: 0B\n"
    nacre("rm", "box")
    assert df(nacre, "Local Volumes")[:2] == ["1", "0"]
    assert df(nacre, "Local Volumes")[4] == "(100%)"
    nacre("system", "prune", "-f", "--volumes")
    assert nacre("run", "--rm", "-v", "data:/data", busybox_image, "cat", "/data/f").out == "hello\n"
    assert "data" in nacre("volume", "prune", "-af").lines
    assert not (nacre.root / "volumes" / "data").exists()


def test_folders_of_the_builder_are_counted_and_freed(nacre: Any) -> None:
    caches = nacre.root / "build" / "cache"
    nacre("images")
    for name in ("aa", "bb"):
        (caches / name).mkdir(parents=True)
        (caches / name / "file").write_bytes(bytes(1000))
    tables = nacre.root / "build" / "contexts"
    tables.mkdir()
    (tables / "cc").write_bytes(bytes(500))
    space = sum(disk_usage(str(path)) for path in (caches / "aa", caches / "bb", tables / "cc"))
    assert df(nacre, "Build Cache")[:4] == ["3", "0", human_size(space, 4), human_size(space, 4)]
    with Lock(f"{caches}/aa.lock"):
        freed = nacre("builder", "prune", "-f").out
    assert "bb" in freed.split()
    assert sorted(path.name for path in caches.iterdir()) == ["aa", "aa.lock"]
    assert not list(tables.iterdir())
    assert "aa" in nacre("system", "prune", "-f").out.split()
    assert not list(caches.iterdir())


def test_sizes_of_containers_agree(nacre: Any, busybox_image: str) -> None:
    nacre("run", "--name", "box", busybox_image, "sh", "-c", "echo hello > /f")
    size = nacre("ps", "-a", "--size", "--format", "{{.Size}}").out.strip()
    assert re.fullmatch(r"6B \(virtual \d.*B\)", size)
    (row,) = nacre("ps", "-aq", "--no-trunc").lines
    space = sum(usage(f"{nacre.root}/{name}/{row}") for name in ("active", "containers"))
    assert df(nacre, "Containers")[:4] == ["1", "0", human_size(space, 4), human_size(space, 4)]
    nacre("rm", "box")


def test_no_far_fetched_suggestion(nacre: Any) -> None:
    assert "did you mean" not in nacre("bogus", check=False).err
    assert "did you mean 'nacre images'" in nacre("imags", check=False).err
