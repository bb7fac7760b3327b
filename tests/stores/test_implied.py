"""A folder that a layer only implies keeps the looks that a lower layer gave it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from nacre.ground import userns
from nacre.stores.store import Store
from nacre.words.mount import Overlay


def _tar(*members: tuple[str, bytes, int]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, mode in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, mode, 1_600_000_000
            tar.addfile(info)
    buffer.seek(0)
    return buffer


def _brows(root: str) -> dict[str, object]:
    with Store.open(root) as store:
        low = store.trees.ingest(_tar(("a", tarfile.DIRTYPE, 0o700), ("a/b", tarfile.DIRTYPE, 0o710)))
        high = store.trees.ingest(
            _tar(("a/b/file", tarfile.REGTYPE, 0o644), ("new/file", tarfile.REGTYPE, 0o644))
        )
        named = store.trees.ingest(_tar(("a", tarfile.DIRTYPE, 0o750), ("a/b/other", tarfile.REGTYPE, 0o644)))
        stack = (low, high, named)
        mount, again = store.trees.view(stack), store.trees.view(stack)
        assert isinstance(mount, Overlay)
        modes = {}
        for path in (b"a", b"a/b", b"new"):
            found = store.trees.lookup(stack, path)
            modes[path] = (found.mode, found.mtime_ns // 10**9) if found else None
        top = {path: (Path(mount.lowers[0]) / path).stat().st_mode & 0o7777 for path in ("a", "a/b")}
        alone = store.trees.view((low,))
        return {
            "lowers": len(mount.lowers),
            "same": mount == again,
            "modes": modes,
            "top": top,
            "alone": alone,
        }


def test_implied_folders_look_as_below(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    try:
        seen = _brows(root) if userns.mapped() else userns.call(_brows, root)
    except Exception as error:
        if userns.mapped():
            raise
        pytest.skip(f"no user namespace here: {error}")
    assert seen["modes"] == {b"a": (0o750, 1_600_000_000), b"a/b": (0o710, 1_600_000_000), b"new": (0o755, 0)}
    assert seen["top"] == {"a": 0o750, "a/b": 0o710}
    assert seen["lowers"] == 6
    assert seen["same"]
    assert len(seen["alone"].lowers) == 2  # type: ignore[attr-defined]
