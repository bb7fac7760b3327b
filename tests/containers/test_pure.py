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
from nacre.services.containers.mountmode import read_idmap
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


@pytest.mark.parametrize("text", ["", "0", "99", "NOPE", "_DFL", "SIG_IGN", "²", "RTMIN+²"])
def test_signals_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="invalid signal"):
        signals.number(text)


def test_volumes(tmp_path: Path) -> None:
    root, here = str(tmp_path / "store"), str(tmp_path)
    own = VolumeMount("/etc", "/e", make=True, options=("rprivate",))
    assert volumes.parse_volume("/etc:/e", here, root) == own
    assert volumes.parse_volume("./new:/e:ro,z", here, root) == own.replace(
        source=f"{here}/new", readonly=True, relabel="z"
    )
    assert volumes.parse_volume("/x/../y/:/a/./b//c/..", here, root) == own.replace(
        source="/y", target="/a/b"
    )
    named = volumes.parse_volume("data:/e:nocopy,U", here, root)
    assert named == VolumeMount(
        f"{root}/volumes/data", "/e", name="data", copy=False, chown=True, options=("rprivate",)
    )
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
    assert volumes.parse_tmpfs("/t:ro,noexec,size=1m,mode=700,size=2m,exec,rw").options == (
        "mode=700", "size=2m", "exec", "rw",
    )  # fmt: skip
    for bad in (
        "/t:size=1,uid=0;evil", "t", "", "/", "/t/..:ro", "/t:size=abc", "/t:size", "/t:mode=8",
        "/t:mode=17777",
        "/t:uid=root", "/t:gid=4294967296", "/t:nr_inodes=5%", "/t:shared", "/t:ro=1",
        f"/t:uid={'1' * 5000}",
    ):  # fmt: skip
        with pytest.raises(UsageError):
            volumes.parse_tmpfs(bad)
    own = VolumeMount("/etc", "/e", True, options=("rprivate",))
    assert parse_mount("type=bind,source=/etc,target=/e,readonly", here, here) == own
    assert parse_mount("TYPE=BIND,Src=/etc,dst=/x/../e,ro=0", here, here) == own.replace(readonly=False)
    assert parse_mount("source=data,target=/e,volume-nocopy", here, here) == VolumeMount(
        f"{here}/volumes/data", "/e", name="data", copy=False, options=("rprivate",)
    )
    assert parse_mount("target=/e", here, here).anonymous  # type: ignore[union-attr]
    assert parse_mount("type=tmpfs,dst=/t,tmpfs-size=1m", here, here) == TmpfsMount(
        "/t", ("mode=1777", "size=1048576")
    )
    (tmp_path / "a,b").mkdir()
    assert parse_mount(f'type=bind,"source={here}/a,b",dst=/e', here, here) == own.replace(
        source=f"{here}/a,b", readonly=False
    )


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("type=bind,target=/x", "field Source must not be empty"),
        ("type=nfs,source=/a,target=/b", 'invalid mount config for type "nfs": mount type unknown'),
        ("type=bind,source=/no/such,target=/b", "bind source path does not exist: /no/such"),
        ("type=bind,source=/etc,target=b", "mount path must be absolute"),
        ("type=bind,source=/etc,target=/x/..", "destination can't be '/'"),
        ("type=bind,source=/etc,target=/b,colour=red", "unexpected key 'colour'"),
        ("type=bind,source=/etc,target=/b,type", "invalid field 'type'"),
        ("type=bind,source=/etc,target=/b,readonly=maybe", "invalid value for 'readonly': maybe"),
        (
            "type=bind,source=/etc,target=/b,tmpfs-size=1",
            "cannot mix 'tmpfs-*' options with mount type 'bind'",
        ),
        ("type=bind,source=/etc,target=/b,bind-propagation=x", "invalid value for bind-propagation: x"),
        ("type=tmpfs,source=x,target=/b", "field Source must not be specified"),
        ("source=a/b,target=/b", "includes invalid characters for a volume name"),
        ("type=bind,source=/etc", "target is required"),
        ("type=bind,source=etc,target=/b", "mount path must be absolute"),
        ('type=bind,"source=/etc', "parse error on line 1"),
        ('type=bi"nd"', 'column 8: bare " in non-quoted-field'),
        ('"type"=bind', 'column 6: extraneous or missing " in quoted-field'),
        ("type=bind,source=/etc,target= /b", "value should not have whitespace"),
        ("type=bind, source=/etc,target=/b", "option should not have whitespace"),
        ("type=bind,source=,target=/b", "invalid value for 'source': value is empty"),
        ("", "value is empty"),
        ("type=bind,source=/etc,target=/b,bind-recursive=some", "must be one of enabled, disabled"),
        ("type=bind,source=/etc,target=/b,bind-recursive=writable", "requires 'readonly' to be specified"),
        ("type=bind,source=/etc,target=/b,ro,bind-recursive=readonly", "'bind-propagation=rprivate'"),
        ("source=v,target=/b,volume-subpath=../x", "subpath must be a relative path within the volume"),
        ("source=v,target=/b,volume-subpath=/x", "subpath must be a relative path within the volume"),
        ("target=/b,volume-subpath=x", "must not set Subpath when using anonymous volumes"),
        ("type=image,target=/b", "field Source must not be empty"),
        ("type=image,source=i,target=/b,image-subpath=a/../..", "a relative path within the image"),
        ("type=tmpfs,target=/b,tmpfs-size=lots", "invalid value for tmpfs-size: lots"),
        ("type=tmpfs,target=/b,tmpfs-mode=889", "invalid value for tmpfs-mode: 889"),
        ("type=tmpfs,target=/b,consistency=x", "invalid value for consistency"),
        ("source=v,target=/b,volume-opt=a=b", 'invalid option: "a"'),
        ("source=v,target=/b,volume-opt=type=none", 'missing required option: "device"'),
    ],
)
def test_mounts_that_make_no_sense(tmp_path: Path, bad: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_mount(bad, str(tmp_path), str(tmp_path))
    assert said in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("dst=/b,volume-driver=nfs", "the only volume driver is local, not 'nfs'"),
        ("dst=/b,volume-opt=type=nfs,volume-opt=device=:/x,volume-opt=o=addr=::1", "type 'nfs'"),
        ("dst=/b,volume-opt=type=tmpfs,volume-opt=device=tmpfs", "type 'tmpfs'"),
        (
            'dst=/b,volume-opt=type=none,volume-opt=device=/,"volume-opt=o=bind,nosuid"',
            "'nosuid' of a volume",
        ),
        ("dst=/b,volume-opt=size=1g", "no quota support"),
    ],
)
def test_mounts_of_docker_that_are_absent(tmp_path: Path, bad: str, said: str) -> None:
    with pytest.raises(Unsupported, match=said):
        parse_mount(bad, str(tmp_path), str(tmp_path))


def test_a_folder_of_the_host_as_a_volume(tmp_path: Path) -> None:
    here = str(tmp_path)
    text = (
        f"src=vol,dst=/b,volume-opt=type=none,volume-opt=device={here},volume-opt=o=bind,volume-label=a=b=c"
    )
    found = parse_mount(text, here, here)
    assert isinstance(found, VolumeMount)
    assert dict(found.driver_options) == {"type": "none", "device": here, "o": "bind"}
    assert found.labels == (("a", "b=c"),)


def test_how_a_folder_is_mounted(tmp_path: Path) -> None:
    def options(more: str) -> tuple[str, ...]:
        mount = parse_mount(f"type=bind,src=/etc,dst=/b{more}", str(tmp_path), str(tmp_path))
        assert isinstance(mount, VolumeMount)
        config = runtime_config(image(), RunOptions(command=("x",), volumes=(mount,)))
        return tuple(config["mounts"][-1]["options"])

    assert options("") == ("rbind", "rw", "rprivate")
    assert options(",ro") == ("rbind", "ro", "rro", "rprivate")
    assert options(",ro,bind-recursive=writable") == ("rbind", "rprivate", "ro")
    assert options(",ro,bind-recursive=disabled") == ("ro", "rro", "rprivate", "bind")
    assert options(",bind-nonrecursive=1,bind-propagation=private") == ("rw", "private", "bind")


@pytest.mark.parametrize("mode", ["U", "z", "Z,U"])
@pytest.mark.parametrize("folder", ["/", "/etc", "/usr/../home"])
def test_the_system_is_given_to_nobody(tmp_path: Path, folder: str, mode: str) -> None:
    with pytest.raises(UsageError, match="is not allowed: it belongs to the system"):
        volumes.parse_volume(f"{folder}:/x:{mode}", str(tmp_path), str(tmp_path))


@pytest.mark.parametrize(
    "bad", ["uids", "uids=", "uids=1-2", "uids=1-2-x", "uids=1-2-0", "uids=1-2-4294967295", "x=1-2-3",
            "uids=1-2-3;uids=1-2-3", "uids=1-2-3#", "uids=-1-2-3", "uids=99999999999999999999-1-1"],
)  # fmt: skip
def test_maps_of_owners_that_make_no_sense(bad: str) -> None:
    with pytest.raises(UsageError, match="invalid idmap"):
        read_idmap(bad)


def test_maps_of_owners() -> None:
    assert read_idmap("uids=0-1-2#5-6-7") == {
        "uids": [(0, 1, 2), (5, 6, 7)], "gids": [(0, 1, 2), (5, 6, 7)],
    }  # fmt: skip
    assert read_idmap("gids=0-1-2;uids=@3-4-5") == {"uids": [(3, 4, 5)], "gids": [(0, 1, 2)]}


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
        with pytest.raises(UsageError, match=r"Duplicate mount point: /a: /1 and (/2|tmpfs)"):
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
    hosts = etc.HostsFile(shared=False, hosts=("db:10.0.0.1", "v6=[::2]"))
    etc.write(str(tmp_path), "box", hosts, etc.ResolvConf(("9.9.9.9",)))
    assert (tmp_path / "resolv.conf").read_text() == "nameserver 9.9.9.9\n"
    assert (tmp_path / "hostname").read_text() == "box\n"
    lines = (tmp_path / "hosts").read_text().splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-3:] == ["10.0.0.1\tdb", "::2\tv6", "127.0.0.1\tbox"]
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o644
    with pytest.raises(UsageError, match="invalid IP address in add-host"):
        etc.write(str(tmp_path), "box", etc.HostsFile(shared=False, hosts=("db:no.where",)))
    with pytest.raises(UsageError, match="bad format for add-host"):
        etc.write(str(tmp_path), "box", etc.HostsFile(shared=False, hosts=("nonsense",)))


@pytest.mark.parametrize(
    ("hostname", "domain", "line"),
    [("box", "", "box"), ("box.lab", "", "box.lab box"), ("box", "lab.org", "box.lab.org box")],
)
def test_hosts_know_the_domain(tmp_path: Path, hostname: str, domain: str, line: str) -> None:
    """`hostname -f` takes the first name of the line, as docker writes it."""
    etc.write(str(tmp_path), hostname, etc.HostsFile(shared=False, domain=domain))
    assert (tmp_path / "hosts").read_text().splitlines()[-1] == f"127.0.0.1\t{line}"


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
