"""A registry of a small team, made up: what screenshots and the browser's tests look at."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from pagekit import described, digest_of, tar_of

from nacre.words.oci import OCI_EMPTY, OCI_MANIFEST

if TYPE_CHECKING:
    from pagekit import Publisher

README = """\
The web shop: catalogue, basket and checkout, rendered on the server.

```sh
docker run -p 8080:8080 -e DATABASE_URL=postgresql:///shop registry.example/atelier/storefront:latest
```

Then open <http://localhost:8080>.

## Settings

| variable | what it is | default |
|---|---|---|
| `DATABASE_URL` | where orders are kept | *must be set* |
| `PORT` | where it listens | `8080` |
| `WORKERS` | processes, one for each core | `2` |

## Tags

- `latest` and `2.4` follow the releases; `2.4.1` never moves.
- Every image runs as the user `app` and has an SBOM and a signature.

> Database migrations run by themselves when a new version starts.
"""

PROGRAM = """\
#!/usr/bin/env python3
# The web shop, version VERSION
import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
"""


class Team:
    """Fills a registry by `push`; a layer of one megabyte has `scale` bytes."""

    def __init__(self, push: Publisher, scale: int) -> None:
        self._push, self._scale, self._random = push, scale, random.Random(7)

    def layer(self, megabytes: float, files: dict[str, bytes | str | None]) -> bytes:
        """A tar with these files, and one beside the first that makes it so large."""
        first = next(iter(files)).rpartition("/")[0]
        blob = self._random.randbytes(int(megabytes * self._scale))
        return tar_of({**files, f"{first}/{digest_of(blob)[7:15]}.bin": blob})

    def fill(self) -> None:
        """All repositories, the oldest first."""
        debian = self.layer(
            27.1,
            {
                "usr/lib/os-release": b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
                "usr/bin/bash": b"\x7fELF" + bytes(600), "usr/bin/sh": "bash", "bin": "usr/bin",
                "etc/debian_version": b"12.8\n", "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\n",
                "etc/os-release": "../usr/lib/os-release", "var/": None, "tmp/": None, "root/": None,
            },
        )  # fmt: skip
        python = self.layer(
            16.8,
            {"usr/local/bin/python3": "python3.12", "usr/local/lib/libpython3.12.so": b"\x7fELF" + bytes(99)},
        )
        pip = self.layer(3.4, {"usr/local/bin/pip": b"#!/usr/local/bin/python3\n"})
        base = [self._step("ADD rootfs.tar.xz /"), self._step('CMD ["bash"]', empty=True)]
        self._push.image("base/debian", "12", [debian], self._config(base))
        self._push.image("base/debian", "12.8", [debian], self._config(base))
        run = [
            *base,
            self._step("ENV PYTHON_VERSION=3.12.7", empty=True),
            self._step("RUN make -C cpython install"),
        ]
        self._push.image(
            "base/python", "3.12", [debian, python, pip], self._config([*run, self._step("RUN pip")])
        )
        self._tools()
        self._shop(
            [debian, python, pip], [*run, self._step("RUN python3 -m ensurepip && pip install -U pip")]
        )

    def _tools(self) -> None:
        for name, size in (("ops/backup", 9.2), ("ops/metrics", 21.7), ("ops/mail-relay", 6.1)):
            layer = self.layer(size, {"usr/bin/tool": b"\x7fELF"})
            self._push.image(name, "latest", [layer], self._config([self._step("COPY tool /usr/bin/")]))
        self.describe("ops/backup", "Nightly dumps of the databases, encrypted and kept for ninety days")
        self.describe("ops/metrics", "Collects metrics of all services")
        self.describe("base/python", "Python 3.12 on Debian 12, rebuilt every night")
        self.describe("base/debian", "Debian 12 without documentation, the start of everything here")

    def _shop(self, below: list[bytes], steps: list[dict[str, Any]]) -> None:
        wheels = self.layer(
            38.6, {"app/venv/lib/django/__init__.py": b"VERSION = (5, 1)\n", "app/venv/bin/gunicorn": b"#!"}
        )
        image = None
        for version in ("2.3.0", "2.3.1", "2.4.0", "2.4.1"):
            code = self.layer(
                2.1,
                {
                    "app/manage.py": PROGRAM.replace("VERSION", version).encode(),
                    "app/VERSION": version.encode(),
                    "app/requirements.txt": b"django==5.1.3\ngunicorn==23.0.0\npsycopg==3.2.3\n",
                    "app/shop/__init__.py": b"", "app/shop/wsgi.py": b"application = None\n",
                    "app/shop/basket.py": f"LIMIT = {len(version) * int(version[-1])}\n".encode(),
                    "app/templates/basket.html": b"<h1>Basket</h1>\n",
                    f"app/static/app.{version}.css": version.encode() * 90,
                },
            )  # fmt: skip
            assets = self.layer(11.4, {"app/assets/logo.svg": b"<svg/>"})
            made = [
                *steps,
                self._step("RUN pip install --no-cache-dir -r requirements.txt && rm -rf /root/.cache"),
                self._step("COPY --chown=app . /app"),
                self._step("RUN python3 manage.py collectstatic --no-input"),
                self._step("USER app", empty=True),
                self._step('CMD ["gunicorn", "shop.wsgi", "--bind", ":8080"]', empty=True),
            ]  # fmt: skip
            layers = [*below, wheels, code, assets]
            image = self._push.image("atelier/storefront", version, layers, self._config(made, version))
            arm = self._push.image(
                "atelier/storefront", "", layers, self._config(made, version) | {"architecture": "arm64"}
            )
            both = {"linux/amd64": image, "linux/arm64": arm}
            for tag in (version, version[:3], "latest"):
                digest = self._push.index("atelier/storefront", tag, both)
        self._attach("atelier/storefront", digest)
        self._push.image("atelier/worker", "1.9", [*below, wheels], self._config(steps))
        self.describe("atelier/storefront", "The web shop: catalogue, basket and checkout", README)
        self.describe("atelier/worker", "Sends mails and makes invoices in the background")

    def _attach(self, name: str, digest: str) -> None:
        """An SBOM and a signature."""
        size = len(self._push("GET", f"/v2/{name}/manifests/{digest}", accept="*/*").data)
        subject = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": size}
        packages = [{"name": f"package-{number}", "SPDXID": f"SPDXRef-{number}"} for number in range(214)]
        spdx = {"spdxVersion": "SPDX-2.3", "name": name, "packages": packages}
        signature = {
            "critical": {"identity": {"docker-reference": name}, "image": {"docker-manifest-digest": digest}}
        }
        empty = self._push.blob(name, b"{}")
        for kind, document in (
            ("application/spdx+json", spdx), ("application/vnd.dev.cosign.artifact.sig.v1+json", signature),
        ):  # fmt: skip
            content = self._push.blob(name, json.dumps(document).encode())
            self._push.put(
                name, "",
                {
                    "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "subject": subject,
                    "config": described(empty, OCI_EMPTY), "layers": [described(content, kind)],
                },
            )  # fmt: skip

    def describe(self, name: str, summary: str, readme: str = "") -> None:
        """What people write."""
        from urllib.parse import urlencode

        body = urlencode({"summary": summary, "readme": readme}).encode()
        answer = self._push(
            "POST", f"/r/{name}/-/edit", body, content_type="application/x-www-form-urlencoded"
        )
        assert answer.status == 303, answer.text

    def _step(self, text: str, *, empty: bool = False) -> dict[str, Any]:
        step = {"created": "2026-11-20T09:12:44Z", "created_by": f"{text} # buildkit"}
        return step | ({"empty_layer": True} if empty else {})

    def _config(self, history: list[dict[str, Any]], version: str = "") -> dict[str, Any]:
        run: dict[str, Any] = {
            "Env": ["PATH=/app/venv/bin:/usr/local/bin:/usr/bin:/bin", "PYTHON_VERSION=3.12.7", "PORT=8080"],
            "Cmd": ["gunicorn", "shop.wsgi", "--bind", ":8080"] if version else ["bash"],
        }
        if version:
            run |= {"User": "app", "WorkingDir": "/app", "ExposedPorts": {"8080/tcp": {}}}
            run["Labels"] = {
                "org.opencontainers.image.source": "https://git.example/atelier/storefront",
                "org.opencontainers.image.licenses": "AGPL-3.0-only",
                "org.opencontainers.image.version": version,
            }
        return {"created": "2026-11-20T09:12:44Z", "config": run, "history": history}
