"""The registry: the OCI distribution protocol (v1.1) over a blob store and a SQLite catalog.

    listen ─► app ─► manifests, blobs, lists        one handler for each endpoint and method
                        │
                        ▼
                      shelf: catalog (names), blobs (content), sessions (uploads), work (threads)
                        ▲
                       tidy    at the start, what a kill left

A blob is visible in a repository only when it was pushed or mounted there. Whatever is accepted can be
pulled: a manifest is refused while a part of it is missing, and a part is not deleted while a manifest
needs it. There is no authentication and no TLS here: put a proxy in front to leave the loopback.
"""

from .app import Registry
from .listen import Serving, serve
from .shelf import Limits

__all__ = ["Limits", "Registry", "Serving", "serve"]
