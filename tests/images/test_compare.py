"""`nacre diff IMAGE IMAGE`."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

Nacre = Any
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def tar(**files: Any) -> bytes:
    """Files by name: bytes are content, None a folder, text a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, what in files.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755 if what is None else 0o644
            if what is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(what, str):
                info.type, info.linkname = tarfile.SYMTYPE, what
            else:
                info.size = len(what)
            archive.addfile(info, io.BytesIO(what if isinstance(what, bytes) else b""))
    return out.getvalue()


@pytest.fixture
def images(nacre: Nacre) -> Nacre:
    base = {
        "etc": None,
        "etc/same": b"same",
        "etc/text": b"one",
        "etc/link": "same",
        "gone": None,
        "gone/a": b"a",
    }
    nacre("import", "-", "one", input=tar(**base, turn=b"file"), **EPOCH)
    changed = base | {
        "etc/text": b"two",
        "etc/link": "text",
        "turn": None,
        "turn/in": b"x",
        "new": None,
        "new/b": b"",
    }
    del changed["gone"], changed["gone/a"]
    nacre("import", "-", "two", input=tar(**changed), **EPOCH)
    return nacre


def test_two_images(images: Nacre) -> None:
    assert images("diff", "one", "two").lines == [
        "C /etc", "C /etc/link", "C /etc/text", "D /gone", "A /new", "A /new/b", "C /turn", "A /turn/in",
    ]  # fmt: skip
    assert images("diff", "two", "one").lines == [
        "C /etc", "C /etc/link", "C /etc/text", "A /gone", "A /gone/a", "D /new", "C /turn",
    ]  # fmt: skip
    assert images("diff", "one", "one").out == ""


def test_what_changed(images: Nacre) -> None:
    lines = images("diff", "--format", "{{.Path}} {{json .Changed}}", "one", "two").lines
    assert lines[:3] == ["/etc []", '/etc/link ["link"]', '/etc/text ["content"]']
    assert '/turn ["kind"]' in lines


def test_layers_on_the_same_base(nacre: Nacre, busybox_image: str) -> None:
    change = (
        "rm /etc/group; mkdir /srv/new; echo x > /srv/new/f; rm -r /root; mkdir -m 700 /root; touch /root/in"
    )
    nacre("run", "--name", "box", busybox_image, "sh", "-c", change)
    nacre("commit", "box", "changed")
    expected = ["C /etc", "D /etc/group", "C /root", "A /root/in", "C /srv", "A /srv/new", "A /srv/new/f"]
    assert nacre("diff", busybox_image, "changed").lines == expected
    assert nacre("diff", "box").lines == expected
    assert nacre("diff", busybox_image, "ghost", check=False).err == "nacre: No such image: ghost:latest\n"
