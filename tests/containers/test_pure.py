"""The parts of containers that do no I/O, or hardly any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nacre.ground.monitor.logfile import MAX_LINE, LogWriter
from nacre.images.model.runtime import (
    RunOptions,
    TmpfsMount,
    VolumeMount,
    arguments,
    environment,
    runtime_config,
)
from nacre.services.containers import etc, keeper, names, signals, volumes
from nacre.services.containers.logfiles import read_log
from nacre.services.containers.mountoption import parse_mount
from nacre.words.errors import Conflict, Unsupported, UsageError
from nacre.words.oci import ImageConfig


def image(**run: object) -> ImageConfig:
    return ImageConfig.from_json({"os": "linux", "architecture": "amd64", "config": run})


@pytest.mark.parametrize(
    ("run", "options", "wanted"),
    [
        ({"Cmd": ["a", "b"]}, {}, ["a", "b"]),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, {}, ["e", "a"]),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, {"command": ("c",)}, ["e", "c"]),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, {"entrypoint": ("x",)}, ["x"]),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, {"entrypoint": ("x",), "command": ("c",)}, ["x", "c"]),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, {"entrypoint": (), "command": ("c",)}, ["c"]),
    ],
)
def test_arguments(run: dict[str, object], options: dict[str, tuple[str, ...]], wanted: list[str]) -> None:
    assert arguments(image(**run), RunOptions(**options)) == wanted


def test_no_command() -> None:
    with pytest.raises(UsageError, match="no command specified"):
        arguments(image(Cmd=["a"]), RunOptions(entrypoint=()))


def test_environment_is_replaced_in_place() -> None:
    options = RunOptions(environment=("A=2", "NEW=x=y", "GONE"), hostname="h", tty=True)
    assert environment(image(Env=["A=1", "B=1", "GONE=1", "PATH=/bin"]), options) == [
        "PATH=/bin", "HOSTNAME=h", "TERM=xterm", "A=2", "B=1", "NEW=x=y"
    ]  # fmt: skip


def test_mounts_from_the_top_down() -> None:
    options = RunOptions(
        command=("x",),
        volumes=(VolumeMount("/h", "/a/b/c"), VolumeMount("/h", "/a")),
        temporary=(TmpfsMount("/a/b"),),
    )
    config = runtime_config(image(), options)
    assert [m["destination"] for m in config["mounts"]][-3:] == ["/a", "/a/b", "/a/b/c"]


@pytest.mark.parametrize(
    "options",
    [
        {"working_dir": "relative"}, {"hostname": "x" * 65},
        {"volumes": (VolumeMount("/h", "/"),)}, {"cap_add": ("NO_SUCH",)}, {"temporary": (TmpfsMount("t"),)},
    ],
)  # fmt: skip
def test_wishes_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        runtime_config(image(), RunOptions(command=("x",), **options))


@pytest.mark.parametrize(
    ("add", "drop", "count"),
    [((), (), 14), (("NET_ADMIN",), (), 15), ((), ("CAP_CHOWN",), 13), ((), ("all",), 0), (("ALL",), (), 41),
     (("ALL",), ("CHOWN",), 40), (("chown",), ("ALL",), 1)],
)  # fmt: skip
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], count: int) -> None:
    config = runtime_config(image(), RunOptions(command=("x",), cap_add=add, cap_drop=drop))
    assert len(config["process"]["capabilities"]["bounding"]) == count


def test_a_config_is_json() -> None:
    config = runtime_config(image(User="u"), RunOptions(command=("x",), privileged=True))
    assert json.loads(json.dumps(config))["process"]["user"] == {"username": "u"}
    assert "maskedPaths" not in config["linux"]


def test_names() -> None:
    assert all(names.is_name(names.new_name()) for _ in range(100))
    assert len(names.new_id()) == 64
    for bad in ("", "a", "-ab", "a/b", "ab c", "../x"):
        assert not names.is_name(bad)


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("sigkill", 9), ("SIGUSR1", 10), ("2", 2)])
def test_signals(text: str, number: int) -> None:
    assert signals.number(text) == number


@pytest.mark.parametrize("text", ["", "0", "99", "NOPE", "_DFL", "SIG_IGN"])
def test_signals_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="invalid signal"):
        signals.number(text)


def test_volumes(tmp_path: Path) -> None:
    root, here = str(tmp_path / "store"), str(tmp_path)
    assert volumes.parse_volume("/etc:/e", here, root) == VolumeMount("/etc", "/e", make=True)
    assert volumes.parse_volume("./new:/e:ro,z", here, root) == VolumeMount(
        f"{here}/new", "/e", True, make=True
    )
    assert volumes.parse_volume("/x/../y/:/a/./b//c/..", here, root) == VolumeMount("/y", "/a/b", make=True)
    named = volumes.parse_volume("data:/e:nocopy", here, root)
    assert named == VolumeMount(f"{root}/volumes/data", "/e", name="data", copy=False)
    alone = volumes.parse_volume("/e/", here, root)
    assert (alone.target, len(alone.name), alone.anonymous) == ("/e", 64, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bad",
    [
        "e", "/etc:rel", ":/x", "/a:/b:wx", "a/b:/c", "..:x", "a b:/c", "/a:/b:ro:z", "/a:/", "/a:/b/..", "/",
        "/a:/b:ro,rw", "/a:/b:z,Z", "/a:/b:ro,ro", "/a:/b:cached,delegated", "/a:/b:nocopy", "/a:/b:,", "",
    ],
)  # fmt: skip
def test_volumes_that_make_no_sense(tmp_path: Path, bad: str) -> None:
    with pytest.raises(UsageError):
        volumes.parse_volume(bad, str(tmp_path), str(tmp_path / "store"))
    assert list(tmp_path.iterdir()) == []


def test_other_mounts(tmp_path: Path) -> None:
    here = str(tmp_path)
    assert volumes.parse_tmpfs("/t/../u") == TmpfsMount("/u")
    assert volumes.parse_tmpfs("/t:size=64k,noexec").options == ("size=64k", "noexec", "mode=1777")
    for bad in ("/t:size=1,uid=0;evil", "t", ""):
        with pytest.raises(UsageError):
            volumes.parse_tmpfs(bad)
    assert parse_mount("type=bind,source=/etc,target=/e,readonly", here, here) == VolumeMount(
        "/etc", "/e", True
    )
    assert parse_mount(
        "type=bind,src=/etc,dst=/x/../e,ro=0,bind-propagation=rslave", here, here
    ) == VolumeMount("/etc", "/e")
    assert parse_mount("source=data,target=/e,volume-nocopy", here, here) == VolumeMount(
        f"{here}/volumes/data", "/e", name="data", copy=False
    )
    assert parse_mount("target=/e", here, here).anonymous  # type: ignore[union-attr]
    assert parse_mount("type=tmpfs,dst=/t,tmpfs-size=1m", here, here) == TmpfsMount(
        "/t", ("mode=1777", "size=1m")
    )
    (tmp_path / "a,b").mkdir()
    assert parse_mount(f'type=bind,"source={here}/a,b",dst=/e', here, here) == VolumeMount(
        f"{here}/a,b", "/e"
    )


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("type=bind,target=/x", "type bind needs a source"),
        ("type=nfs,source=/a,target=/b", "type 'nfs' is not bind, volume or tmpfs"),
        ("type=bind,source=/no/such,target=/b", "bind source path does not exist: /no/such"),
        ("type=bind,source=/etc,target=b", "target must be an absolute path"),
        ("type=bind,source=/etc,target=/x/..", "target must be an absolute path other than '/'"),
        ("type=bind,source=/etc,target=/b,colour=red", "unexpected key 'colour'"),
        ("type=bind,source=/etc,target=/b,type", "invalid field 'type'"),
        ("type=bind,source=/etc,target=/b,readonly=maybe", "invalid value for readonly: maybe"),
        ("type=bind,source=/etc,target=/b,tmpfs-size=1", "cannot mix 'tmpfs-*' options with type 'bind'"),
        ("type=bind,source=/etc,target=/b,bind-propagation=x", "invalid propagation mode 'x'"),
        ("type=tmpfs,source=x,target=/b", "type tmpfs has no source"),
        ("source=a/b,target=/b", "includes invalid characters for a volume name"),
        ('type=bind,"source=/etc', "invalid mount"),
    ],
)
def test_mounts_that_make_no_sense(tmp_path: Path, bad: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_mount(bad, str(tmp_path), str(tmp_path))
    assert said in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bad", ["type=bind,source=/etc,target=/b,bind-propagation=shared", "dst=/b,volume-opt=a=b"]
)
def test_mounts_of_docker_that_are_absent(tmp_path: Path, bad: str) -> None:
    with pytest.raises(Unsupported, match="is not supported"):
        parse_mount(bad, str(tmp_path), str(tmp_path))


def test_one_mount_at_a_place() -> None:
    def targets(*mounts: VolumeMount, image: tuple[str, ...] = (), tmpfs: tuple[str, ...] = ()) -> list[str]:
        options = RunOptions(volumes=mounts, temporary=tuple(map(TmpfsMount, tmpfs)))
        done = volumes.complete(options, {path: {} for path in image}, "/store")
        return [volume.source.rpartition("/")[2][:4] + volume.target for volume in done.volumes]

    one, two, new = (
        VolumeMount("/1", "/a"),
        VolumeMount("/2", "/a"),
        volumes.parse_volume("/a", "/", "/store"),
    )
    assert targets(one, one) == ["1/a"]
    assert targets(new, one) == targets(one, new) == targets(one, image=("/a", "a/", "/b/../a")) == ["1/a"]
    assert targets(new, image=("/a",)) == [f"{new.name[:4]}/a"]
    assert len(targets(image=("/a", "/b", "c"))) == 3
    assert targets(image=("/a",), tmpfs=("/a",)) == targets(new, tmpfs=("/a", "/a")) == []
    for mounts, tmpfs in (((one, two), ()), ((one,), ("/a",))):
        with pytest.raises(UsageError, match="Duplicate mount point: /a"):
            targets(*mounts, tmpfs=tmpfs)


def test_targets_and_folders_are_cleaned() -> None:
    options = RunOptions(
        command=("x",),
        volumes=(VolumeMount("/h", "/a/../b"),),
        temporary=(TmpfsMount("//c/./d/"),),
        working_dir="/w/..",
    )
    config = runtime_config(image(), options)
    assert [m["destination"] for m in config["mounts"]][-2:] == ["/b", "/c/d"]
    assert config["process"]["cwd"] == "/"
    assert runtime_config(image(WorkingDir="app/"), RunOptions(command=("x",)))["process"]["cwd"] == "/app"


def test_files_in_etc(tmp_path: Path) -> None:
    hosts = etc.HostsFile(shared=False, hosts=("db:10.0.0.1", "v6=::2"))
    etc.write(str(tmp_path), "box", hosts, etc.ResolvConf(("9.9.9.9",)))
    assert (tmp_path / "resolv.conf").read_text() == "nameserver 9.9.9.9\n"
    assert (tmp_path / "hostname").read_text() == "box\n"
    lines = (tmp_path / "hosts").read_text().splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-3:] == ["10.0.0.1\tdb", "::2\tv6", "127.0.0.1\tbox"]
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o644
    with pytest.raises(UsageError, match="bad format for add-host"):
        etc.write(str(tmp_path), "box", etc.HostsFile(shared=False, hosts=("nonsense",)))


def test_log(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    log = LogWriter(path)
    log.write("stdout", b"one\ntw")
    log.write("stderr", b"error\n")
    log.write("stdout", b"o\n\xff")
    log.write("stdout", b"x" * (2 * MAX_LINE) + b"\nend")
    log.close()
    lines = list(read_log(path))
    out = "".join(line.text for line in lines if line.stream == "stdout")
    assert out == "one\ntwo\n\ufffd" + "x" * (2 * MAX_LINE) + "\nend"
    assert [line.text for line in lines if line.stream == "stderr"] == ["error\n"]
    assert lines[0].time.endswith("Z")
    assert len(lines[0].time) == 30
    assert all(len(line.text) <= MAX_LINE for line in lines)


def test_log_that_is_damaged_or_absent(tmp_path: Path) -> None:
    assert list(read_log(str(tmp_path / "none"))) == []
    (tmp_path / "log").write_bytes(b'garbage\n{"log":"a","stream":"stdout","time":"t"}\n{"log":\n{"lo')
    assert [line.text for line in read_log(str(tmp_path / "log"))] == ["a"]


def test_keeper(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert not keeper.is_kept(folder)
    assert keeper.wait(folder) is None
    assert not keeper.send(folder, 15)
    kept = keeper.Keeper(folder)
    assert keeper.is_kept(folder)
    assert keeper.send(folder, 15)
    with pytest.raises(Conflict, match="already running"):
        keeper.Keeper(folder)
    kept.record(7)
    kept.close()
    assert not keeper.is_kept(folder)
    assert keeper.wait(folder) == 7
    assert not keeper.send(folder, 15)
