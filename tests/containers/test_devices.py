"""Device nodes that a container of root finds or makes: none opens a device of the host (a loop device)."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_confined import Confined

from nacre.ground import cgroups, userns
from nacre.images.model.runtime import RunOptions, runtime_config
from nacre.words.oci import ImageConfig

if TYPE_CHECKING:
    from conftest import Nacre

SECRET = b"SECRET of the host\n"
USE = "{ head -c 6 NODE; echo OVERWRITTEN > NODE; true; } 2>&1"
NOBODY = ("-u", "1000", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


class Victim:
    """A loop device that everybody on the host may read and write."""

    def __init__(self, path: str) -> None:
        self.path, info = path, os.stat(path)
        self.mode, self.device = stat.S_IMODE(info.st_mode), info.st_rdev
        self.major, self.minor = os.major(info.st_rdev), os.minor(info.st_rdev)

    def use(self, node: str) -> str:
        """A script that reads and writes it by the name `node`."""
        return USE.replace("NODE", node)

    def make(self, node: str) -> str:
        return f"mknod -m 666 {node} b {self.major} {self.minor}"

    def check(self, said: str) -> None:
        """Nothing was read from it, nothing written to it, and the node was there."""
        with open(self.path, "rb") as device:
            assert device.read(len(SECRET)) == SECRET
        assert "SECRET" not in said
        assert "not permitted" in said or "denied" in said, said


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    if not userns.is_first() or os.geteuid():
        pytest.skip("needs root")
    file = tmp_path / "disk"
    file.write_bytes(SECRET.ljust(1 << 20, b"\0"))
    done = subprocess.run(["losetup", "-f", "--show", file], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device can be had: {done.stderr.strip()}")
    path = done.stdout.strip()
    found = Victim(path)
    try:
        os.chmod(path, 0o666)
        yield found
    finally:
        os.chmod(path, found.mode)
        subprocess.run(["losetup", "-d", path], check=True)


@pytest.fixture(params=["group", "nodev"])
def engine(request: pytest.FixtureRequest, nacre: Nacre, victim: Victim) -> Nacre | Confined:
    """With a control group for devices, and where there can be none."""
    return nacre if request.param == "group" else Confined(nacre, "--no=bpf")


@pytest.fixture(params=["erofs", "overlay", "plain"])
def driver(request: pytest.FixtureRequest, engine: Nacre | Confined) -> str:
    name: str = request.param
    if name == "erofs" and engine("info", "--format", "{{.Driver}}").out.strip() != "erofs":
        pytest.skip("no erofs here")
    engine.env["NACRE_STORAGE_DRIVER"] = name
    return name


def layer(victim: Victim, name: str = "srv/node") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.BLKTYPE, 0o666
        info.devmajor, info.devminor = victim.major, victim.minor
        tar.addfile(info)
    return out.getvalue()


def ship(engine: Nacre | Confined, victim: Victim, tar: bytes) -> str:
    """An image whose layer has the node."""
    end = b"\0" * 1024
    both = tar.rstrip(b"\0") + b"\0" * (-len(tar.rstrip(b"\0")) % 512) + layer(victim).rstrip(b"\0")
    both += b"\0" * (-len(both) % 512) + end
    engine("import", "--change", "ENV PATH=/bin", "-", "ships:1", input=both)
    return "ships:1"


@pytest.mark.parametrize("options", [(), NOBODY], ids=["root", "nobody"])
def test_a_node_of_the_image(
    engine: Nacre, driver: str, victim: Victim, busybox_tar: bytes, options: tuple[str, ...]
) -> None:
    image = ship(engine, victim, busybox_tar)
    script = f"test -b /srv/node || echo absent; {victim.use('/srv/node')}"
    done = engine("run", "--rm", *options, image, "sh", "-c", script, check=False)
    assert "absent" not in done.out
    victim.check(done.out + done.err)


def test_a_node_made_inside(engine: Nacre, driver: str, victim: Victim, busybox_image: str) -> None:
    os.mkdir(engine.folder / "host")
    shown = ("--tmpfs", "/t", "-v", "vol:/v", "-v", f"{engine.folder}/host:/h")
    for place in ("/node", "/dev/node", "/tmp/node", "/dev/shm/node", "/t/node", "/v/node", "/h/node"):
        script = f"{victim.make(place)} && test -b {place} || exit 7; {victim.use(place)}"
        done = engine("run", "--rm", *shown, busybox_image, "sh", "-c", script, check=False)
        assert done.code != 7, done
        victim.check(done.out + done.err)


def test_a_node_in_a_volume_or_a_folder_of_the_host(
    engine: Nacre, victim: Victim, busybox_image: str
) -> None:
    os.mkdir(engine.folder / "host")
    os.mknod(engine.folder / "host/node", 0o666 | stat.S_IFBLK, victim.device)
    os.chmod(engine.folder / "host/node", 0o666)
    for source in (f"{engine.folder}/host:/h", f"{victim.path}:/h/node", "/dev:/h"):
        name = os.path.basename(victim.path) if source == "/dev:/h" else "node"
        script = f"test -b /h/{name} || exit 7; {victim.use('/h/' + name)}"
        done = engine("run", "--rm", "-v", source, busybox_image, "sh", "-c", script, check=False)
        assert done.code != 7, done
        victim.check(done.out + done.err)


def test_a_node_that_was_copied_in(engine: Nacre, driver: str, victim: Victim, busybox_image: str) -> None:
    script = f"while ! test -b /srv/node; do sleep 0.01; done; {victim.use('/srv/node')}"
    engine("run", "-d", "--name", "box", busybox_image, "sh", "-c", script)
    try:
        engine("cp", "-", "box:/srv", input=layer(victim, "node"))
        engine("wait", "box")
        victim.check(engine("logs", "box").out)
        victim.check(engine("start", "-a", "box", check=False).out)
    finally:
        engine("rm", "-f", "box")


def test_exec(engine: Nacre, victim: Victim, busybox_image: str) -> None:
    engine("run", "-d", "--name", "box", busybox_image, "sleep", "1000")
    try:
        for options in ((), ("--privileged",)):
            script = f"rm -f /x; {victim.make('/x')}; {victim.use('/x')}"
            done = engine("exec", *options, "box", "sh", "-c", script, check=False)
            victim.check(done.out + done.err)
    finally:
        engine("rm", "-f", "box")


def test_builds(engine: Nacre, driver: str, victim: Victim, busybox_image: str) -> None:
    context = engine.folder / "context"
    context.mkdir()
    (context / "node.tar").write_bytes(layer(victim, "added"))
    places = ("/made", "/a/added", "/copied/added", "/cache/node", "/t/node", "/dev/node")
    lines = [f"{victim.make(place)} && test -b {place} || true" for place in places[::3] + places[4:]]
    use, cache = "; ".join(victim.use(place) for place in places), "--mount=type=cache,target=/cache"
    (context / "Dockerfile").write_text(
        f"FROM {busybox_image} AS one\nADD node.tar /a\n"
        f"FROM {busybox_image}\nADD node.tar /a\nCOPY --from=one /a /copied\n"
        f"RUN {cache} --mount=type=tmpfs,target=/t {'; '.join(lines)}; {{ {use}; }} >/out\n"
        f"RUN {cache} {{ {victim.use('/made')}; {victim.use('/cache/node')}; }} >>/out\n"
    )
    engine("build", "-t", "built", "context")
    said = engine("run", "--rm", "built", "cat", "/out").out
    victim.check(said)
    assert said.count("not permitted") + said.count("denied") >= 2 * (len(places) + 2)


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_other_runtimes(
    nacre: Nacre, victim: Victim, busybox_tar: bytes, peer: Callable[..., None], runtime: str
) -> None:
    peer(runtime)
    image = ship(nacre, victim, busybox_tar)
    script = (
        f"{victim.make('/x')}; {victim.use('/x')}; {victim.use('/srv/node')}; echo > /dev/null; echo fine"
    )
    done = nacre("run", "--rm", "--runtime", runtime, image, "sh", "-c", script, check=False)
    victim.check(done.out + done.err)
    assert "fine" in done.out


def test_who_may_mount(engine: Nacre, victim: Victim, busybox_image: str) -> None:
    """CAP_SYS_ADMIN undoes `nodev`, so it takes a group."""
    script = f"mount -t tmpfs t /srv; {victim.make('/srv/x')}; {victim.use('/srv/x')}"
    done = engine("run", "--rm", "--cap-add", "SYS_ADMIN", busybox_image, "sh", "-c", script, check=False)
    victim.check(done.out + done.err)
    if isinstance(engine, Confined):
        assert done.code == 125
        assert "no device control group" in done.err


def test_mounted_outside(nacre: Nacre, victim: Victim, busybox_tar: bytes) -> None:
    """Users of the host may look into what `nacre mount` shows."""
    nacre("create", "--name", "box", ship(nacre, victim, busybox_tar), "true")
    path = nacre("mount", "box").out.strip()
    try:
        with pytest.raises(PermissionError):
            os.open(f"{path}/srv/node", os.O_RDONLY)
    finally:
        nacre("unmount", "-f", "-a")


@pytest.mark.parametrize("options", [(), NOBODY], ids=["root", "nobody"])
def test_in_a_chroot(nacre: Nacre, victim: Victim, busybox_tar: bytes, options: tuple[str, ...]) -> None:
    """Nothing keeps nodes from being used there, so they are not made; and yet they are in the image."""
    pod = Confined(nacre)
    image = ship(pod, victim, busybox_tar)
    script = f"{victim.make('/x')}; {victim.use('/x')}; test -b /srv/node || echo absent; cat /srv/node"
    done = pod("run", *options, "--name", "box", image, "sh", "-c", script, check=False)
    assert "absent" in done.out
    victim.check(done.out + done.err)
    pod("commit", "box", "again")
    pod("rm", "box")
    pod("create", "--name", "two", image, "cat", "/srv/node")
    pod("cp", "-", "two:/srv", input=layer(victim, "node"))
    assert "SECRET" not in pod("start", "-a", "two", check=False).out
    pod("rm", "two")
    exported = nacre("export", nacre("create", "again", "true").out.strip())
    with tarfile.open(fileobj=io.BytesIO(exported.raw)) as tar:
        member = tar.getmember("srv/node")
        assert (member.type, member.devmajor, member.devminor) == (
            tarfile.BLKTYPE, victim.major, victim.minor,
        )  # fmt: skip


def test_a_cache_with_a_node_is_not_shown_in_a_chroot(
    nacre: Nacre, victim: Victim, busybox_image: str
) -> None:
    context = nacre.folder / "context"
    context.mkdir()
    head = f"FROM {busybox_image}\nRUN --mount=type=cache,target=/cache "
    (context / "Dockerfile").write_text(f"{head} {victim.make('/cache/node')}\n")
    nacre("build", "context")
    (context / "Dockerfile").write_text(f"{head} {victim.use('/cache/node')}\n")
    done = Confined(nacre)("build", "context", check=False)
    assert done.code
    assert "/cache/node is a device" in done.err
    with open(victim.path, "rb") as device:
        assert device.read(len(SECRET)) == SECRET


def test_what_is_given_can_be_used(engine: Nacre, victim: Victim, busybox_image: str) -> None:
    """`--device` with its access, `--privileged`, and the devices that everybody has."""
    use = ("sh", "-c", f"head -c 6 {victim.path}; echo x > {victim.path}")
    done = engine("run", "--rm", "--device", f"{victim.path}:r", busybox_image, *use, check=False)
    if isinstance(engine, Confined):
        assert done.out == "SECRET"
    else:
        assert (done.out, "not permitted" in done.err) == ("SECRET", True)
        with open(victim.path, "rb") as device:
            assert device.read(len(SECRET)) == SECRET
    script = "echo x > /dev/null && head -c 3 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c"
    assert engine("run", "--rm", busybox_image, "sh", "-c", script).out == "3\n3\n"
    engine("run", "--rm", "-v", "/dev/null:/n", busybox_image, "sh", "-c", "echo x > /n")
    script = f"{victim.make('/x')}; head -c 6 /x; head -c 6 {victim.path}; echo x >/x"
    assert engine("run", "--rm", "--privileged", busybox_image, "sh", "-c", script).out[:1] in "Sx"


def test_where_a_device_is_put(engine: Nacre, busybox_image: str) -> None:
    """In folders of /dev that are made, with the owner that it has on the host."""
    words = ["--device", "/dev/null:/dev/a/b/c:r", "--device", "/dev/zero"]
    done = engine("run", "--rm", *words, busybox_image, "sh", "-c", "ls -ln /dev/a/b/c; cat /dev/a/b/c")
    (line,) = done.lines
    info = os.stat("/dev/null")
    assert line.replace(",", " ").split()[:6] == [
        stat.filemode(info.st_mode), "1", str(info.st_uid), str(info.st_gid), "1", "3",
    ]  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0 or not userns.is_first(), reason="an owner needs root of the machine")
def test_the_owner_of_a_device(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    node = tmp_path / "node"
    os.mknod(node, 0o660 | stat.S_IFCHR, os.makedev(1, 3))
    os.chown(node, 1000, 2000)
    os.chmod(node, 0o660)
    done = nacre(
        "run", "--rm", "--device", f"{node}:/dev/n", busybox_image, "stat", "-c", "%u %g %a", "/dev/n"
    )
    assert done.out == "1000 2000 660\n"


def test_mknod_of_the_null_device(engine: Nacre, victim: Victim, busybox_image: str) -> None:
    """It works as with docker; used it can be where there is a control group."""
    script = "mknod /n c 1 3 && mknod /dev/n c 1 3 && test -c /n && echo made; echo x > /n && echo used"
    done = engine("run", "--rm", busybox_image, "sh", "-c", script, check=False)
    assert done.lines == (["made"] if isinstance(engine, Confined) else ["made", "used"])


@pytest.mark.parametrize("wish", ["rx", "rr"])
def test_access_that_is_none(nacre: Nacre, busybox_image: str, wish: str) -> None:
    done = nacre("run", "--rm", "--device", f"/dev/null:/dev/n:{wish}", busybox_image, "true", check=False)
    assert done.code == 125
    assert f"invalid device mode: {wish}" in done.err


def test_no_group_is_left(nacre: Nacre, victim: Victim, busybox_image: str) -> None:
    """Also none of a container whose keeper was killed, once another has ended."""
    process = nacre.start("run", "--rm", "--name", "box", busybox_image, "sh", "-c", "echo up; sleep 1000")
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    with process:
        name = os.path.basename(cgroups.path(nacre("inspect", "box").json[0]["State"]["Pid"]))
        assert name in groups()
        process.kill()
    nacre("run", "--rm", busybox_image, "true")
    assert name not in groups()


def test_groups_of_others_stay(nacre: Nacre, victim: Victim, busybox_image: str) -> None:
    """Those with names like ours, and those of a process that lives and is about to fill one."""
    names = ["nacre-web", "nacre-1-x", f"nacre-{os.getpid()}-0123456789ab", f"nacre-{DEAD}-0123456789ab"]
    with cgroups_here() as above:
        for name in names:
            os.mkdir(name, dir_fd=above)
        try:
            nacre("run", "--rm", busybox_image, "true")
            assert set(names) & set(os.listdir(above)) == set(names[:3])
        finally:
            for name in set(names) & set(os.listdir(above)):
                os.rmdir(name, dir_fd=above)


def groups() -> list[str]:
    with cgroups_here() as fd:
        return [name for name in os.listdir(fd) if name.startswith("nacre-")]


@contextmanager
def cgroups_here() -> Iterator[int]:
    """The group that we are in."""
    fd = cgroups._open(cgroups.path())
    try:
        yield fd
    finally:
        os.close(fd)


DEAD = 1 << 23
"""No process has such a number: proc_sys_kernel(5), pid_max."""


def test_the_rules_are_those_of_docker() -> None:
    image = ImageConfig.from_json({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["x"]}})
    config = runtime_config(image, RunOptions())
    rules = config["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    for device in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 3)):
        assert cgroups.allows(rules, "c", *device)
    for kind, *device in (("b", 1, 3), ("b", 7, 0), ("c", 5, 1), ("c", 1, 1), ("c", 10, 200)):
        assert not cgroups.allows(rules, kind, *device)


@pytest.mark.parametrize("rules", [[{"allow": True}, {"allow": False}], [{"allow": False, "type": "c"}]])
def test_rules_that_only_other_runtimes_know(rules: list[dict[str, object]]) -> None:
    with pytest.raises(ValueError, match="the only rule"):
        cgroups.program(rules)
