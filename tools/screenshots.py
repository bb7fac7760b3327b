"""Makes the pictures of the registry's page in docs/pictures with Debian's chromium.

A registry of a made-up team (tests/pagedemo.py) is served here, and the browser believes that it is at
registry.example. The font is Inter where it is installed (fonts-inter).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from chromium import Chromium  # noqa: E402
from pagedemo import Team  # noqa: E402
from pagekit import Client  # noqa: E402

from nacre.services.server import RunningServer  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
SHOP = "/r/atelier/storefront"
SHOTS = {
    "page-home": ("/", {}),
    "page-repository": (SHOP, {"height": 900}),
    "page-image": (f"{SHOP}/-/image/latest", {"height": 1150}),
    "page-image-dark": (f"{SHOP}/-/image/latest", {"height": 1150, "dark": True}),
    "page-files": (f"{SHOP}/-/files/latest/app/manage.py", {"height": 760}),
    "page-compare": (f"{SHOP}/-/compare?from=2.3.1&to=2.4.1", {"height": 800}),
    "page-storage": ("/-/storage", {"dark": True}),
    "page-phone": (f"{SHOP}/-/image/latest", {"width": 390, "height": 844, "phone": True}),
}
MOST = 150_000


def main() -> None:
    """Serve, look, and write what is seen."""
    with tempfile.TemporaryDirectory() as folder, RunningServer(f"{folder}/registry") as serving:
        Team(Client(serving.url), 1_000_000).fill()
        port = serving.url.rpartition(":")[2]
        rules = f"--host-resolver-rules=MAP registry.example:80 127.0.0.1:{port}"
        with Chromium(Path(folder), rules) as browser:
            for name, (path, look) in SHOTS.items():
                browser.look(**look)  # type: ignore[arg-type]
                browser.go(f"http://registry.example{path}")
                browser.until("!document.querySelector('meta[http-equiv=refresh]')")
                data = browser.picture()
                assert len(data) < MOST, f"{name}: {len(data)} bytes"
                (PICTURES / f"{name}.webp").write_bytes(data)
                print(f"{name}.webp {len(data)}")


if __name__ == "__main__":
    main()
