"""A store whose layers were made by several drivers: whoever comes later uses all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.ground import userns

if TYPE_CHECKING:
    from conftest import Nacre

pytestmark = pytest.mark.skipif(not userns.mapped(), reason="needs root, who has more than one driver")


@pytest.mark.parametrize(
    ("first", "second"),
    [("overlay", "auto"), ("erofs", "overlay"), ("plain", "auto"), ("overlay", "plain"), ("erofs", "plain")],
)
def test_an_image_made_by_one_driver_is_used_by_another(
    nacre: Nacre, busybox_tar: bytes, tmp_path: Path, first: str, second: str
) -> None:
    reason = nacre("--storage-driver", "erofs", "info", "--format", "{{.DriverReason}}").out
    if ", but " in reason:
        pytest.skip(reason)
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
