"""A store whose layers were made by several drivers: whoever comes later uses all of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.ground import mounts, userns

if TYPE_CHECKING:
    from conftest import Nacre

pytestmark = pytest.mark.skipif(not userns.mapped(), reason="needs root, who has more than one driver")


def _needs_erofs(nacre: Nacre) -> None:
    reason = nacre("--storage-driver", "erofs", "info", "--format", "{{.DriverReason}}").out
    if ", but " in reason:
        pytest.skip(reason)


@pytest.mark.parametrize(
    ("first", "second"),
    [("overlay", "auto"), ("erofs", "overlay"), ("plain", "auto"), ("overlay", "plain"), ("erofs", "plain")],
)
def test_an_image_made_by_one_driver_is_used_by_another(
    nacre: Nacre, busybox_tar: bytes, tmp_path: Path, first: str, second: str
) -> None:
    _needs_erofs(nacre)
    nacre("--storage-driver", first, "import", "--change", "ENV PATH=/bin", "-", "base", input=busybox_tar)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/Dockerfile").write_text(
        "FROM base\nRUN echo built > /srv/made; rm /etc/group\nCMD cat /srv/made\n"
    )
    nacre("--storage-driver", second, "build", "-t", "app", "app")
    assert nacre("--storage-driver", second, "run", "--rm", "app").out == "built\n"
    nacre("--storage-driver", first, "run", "--name", "made", "app", "sh", "-c", "echo more > /srv/more")
    assert nacre("--storage-driver", second, "diff", "made").lines == ["C /srv", "A /srv/more"]
    nacre("--storage-driver", second, "commit", "made", "app:2")
    shown = nacre("--storage-driver", first, "run", "--rm", "app:2", "sh", "-c", "cat /srv/*; ls /etc")
    assert shown.out == "built\nmore\nhostname\nhosts\npasswd\nresolv.conf\n"
    assert len(list((nacre.root / "trees").glob("[0-9a-f]*"))) == 3


def _mounts(nacre: Nacre) -> list[tuple[int, int]]:
    """The living processes that keep shared mounts, and the file system that each has there."""
    names = [path.name.split(".") for path in (nacre.root / "shared").iterdir()]
    living = [name for name in names if os.path.exists(f"/proc/{name[4]}/fd/{name[6]}")]
    return [(int(name[4]), os.stat(f"/proc/{name[4]}/fd/{name[6]}").st_dev) for name in living]


def test_containers_share_the_mount_of_a_layer(nacre: Nacre, busybox_image: str) -> None:
    _needs_erofs(nacre)
    if not mounts.takes_detached():
        pytest.skip("this kernel's overlayfs takes attached mounts only")
    for name in ("one", "two"):
        nacre("run", "-d", "--name", name, busybox_image, "sleep", "600")
    (first, its), (second, same) = _mounts(nacre)
    assert (first != second, its) == (True, same)
    os.kill(first, signal.SIGKILL)
    nacre("run", "-d", "--name", "three", busybox_image, "sleep", "600")
    assert [device for keeper, device in _mounts(nacre) if keeper != first] == [its] * 2
    assert nacre("exec", "three", "ls", "/proc/self/fd").lines[:3] == ["0", "1", "2"]
    nacre("rm", "-f", "one", "two", "three")
    nacre("system", "prune", "-f")
    assert list((nacre.root / "shared").iterdir()) == []


def test_a_mode_changed_beside_a_mount_point_stays(nacre: Nacre, busybox_image: str) -> None:
    """What was made only to mount on goes again; the folder it was made in goes only if it is as before."""
    for driver in ("erofs", "overlay"):
        dockerfile = (
            f"FROM {busybox_image}\nLABEL by={driver}\nRUN chmod 700 /etc\nRUN stat -c %a /etc > /srv/mode\n"
        )
        nacre("--storage-driver", driver, "build", "--no-cache", "-t", "app", "-", input=dockerfile)
        assert nacre("run", "--rm", "app", "cat", "/srv/mode").out == "700\n"
