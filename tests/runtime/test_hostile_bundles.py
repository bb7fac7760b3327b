"""Images and configs that want out of their root."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def test_links_of_the_image_lead_nowhere(runtime: Any, tmp_path: Path) -> None:
    """A target that is a link of the image to a path of the host is made in the image."""
    outside = tmp_path / "outside"
    outside.mkdir()

    def change(config: dict[str, Any]) -> None:
        config["mounts"].append({"destination": "/link/x", "type": "tmpfs", "source": "tmpfs"})
        config["linux"]["maskedPaths"] = ["/masked/file"]
        config["linux"]["readonlyPaths"] = ["/masked"]

    bundle = runtime.bundle("sh", "-c", "grep -q /x.tmpfs /proc/mounts && echo found", change=change)
    root = Path(bundle, "rootfs")
    (root / "link").symlink_to(outside)
    (root / "masked").symlink_to(f"../../../../../..{outside}")
    (outside / "file").write_text("x")
    with (tmp_path / "output").open("w+") as output:
        runtime("run", "-b", bundle, runtime.new(), stdout=output)
    assert (tmp_path / "output").read_text() == "found\n"
    assert os.listdir(outside) == ["file"]
    assert (root / str(outside).lstrip("/") / "x").is_dir()


@pytest.mark.parametrize("place", ["proc", "dev", "sys"])
def test_folders_of_the_kernel_are_no_links(runtime: Any, place: str) -> None:
    bundle = runtime.bundle("true")
    Path(bundle, "rootfs", place).symlink_to("/tmp")
    done = runtime("create", "-b", bundle, runtime.new(), check=False)
    assert done.returncode == 1
    assert f"/{place}" in done.stderr


def test_nothing_covers_proc(runtime: Any) -> None:
    mount = {"destination": "/proc/self/attr", "type": "tmpfs", "source": "tmpfs"}
    said = runtime.refusal(lambda config: config["mounts"].append(mount))
    assert said == "cannot mount at /proc/self/attr: it is in /proc"


def test_a_working_folder_is_inside(runtime: Any) -> None:
    """runc CVE-2024-21626: no descriptor of the host is open to lead out."""
    for fd in range(3, 8):
        change = lambda config, fd=fd: config["process"].update(cwd=f"/proc/self/fd/{fd}")  # noqa: E731
        bundle = runtime.bundle("pwd", change=change)
        done = runtime("create", "-b", bundle, runtime.new(), check=False)
        assert done.returncode == 1, fd


def test_the_runtime_itself_is_not_run(runtime: Any) -> None:
    """runc CVE-2019-5736: the program is the link to whoever starts it."""
    bundle = runtime.bundle("/evil")
    Path(bundle, "rootfs/evil").write_text("#!/proc/self/exe\n")
    Path(bundle, "rootfs/evil").chmod(0o755)
    name = runtime.create(bundle)
    assert runtime("start", name, check=False).returncode == 1
    runtime.wait(name)


_WRONG = [{"type": "mount"}, {"type": "ipc", "path": "/proc/self/ns/net"}]


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        ("intelRdt", {"closID": "x"}, "linux.intelRdt is not supported"),
        ("mountLabel", "system_u:object_r:x:s0", "SELinux is not enabled here"),
        ("sysctl", {"kernel.panic": "1"}, "linux.sysctl has 'kernel.panic', which belongs to no namespace"),
        ("sysctl", {"net/../kernel/panic": "1"}, "belongs to no namespace"),
        ("cgroupsPath", "system.slice:runc:x", "linux.cgroupsPath"),
        ("cgroupsPath", "/../../x", "linux.cgroupsPath"),
        ("seccomp", {"defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.defaultAction"),
        ("seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}, "linux.seccomp.listenerPath"),
        ("namespaces", [{"type": "pid"}], "linux.namespaces has no mount"),
        ("namespaces", _WRONG, "/proc/self/ns/net is no namespace of the kind ipc"),
    ],
)
def test_refused_by_name(runtime: Any, section: str, value: Any, said: str) -> None:
    def change(config: dict[str, Any]) -> None:
        config["linux"][section] = value
        if section == "namespaces":
            config.pop("hostname")
            for name in ("uidMappings", "gidMappings"):
                config["linux"].pop(name, None)

    if section == "mountLabel" and os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("SELinux is enabled")
    assert said in runtime.refusal(change)
