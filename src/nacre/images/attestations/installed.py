"""Whether the libraries are installed that only attestations need.

`spdx-tools` (SPDX documents), `in-toto-attestation` (statements), `packageurl-python` (package URLs)
instead of formats of our own. They come with the extra `attest`, and nothing else imports them.
"""

from __future__ import annotations

from importlib.util import find_spec

from ...words.errors import Unsupported

_NEEDED = {
    "spdx_tools": "spdx-tools", "in_toto_attestation": "in-toto-attestation",
    "packageurl": "packageurl-python",
}  # fmt: skip


def require() -> None:
    """Raises Unsupported when one of them is absent."""
    if missing := [library for name, library in _NEEDED.items() if find_spec(name) is None]:
        raise Unsupported(
            f"to make an SBOM or provenance, install {', '.join(missing)}",
            hint="pip install 'nacre-oci[attest]'",
        )
