"""The registry: the OCI distribution protocol (v1.1) over the store that it is handed.

    listen ─► app ─► manifests, blobs, lists        one handler for each endpoint and method
                        │
                        ▼
                      state: sessions (uploads), work (threads)
                        │
                        ▼
                      stores.registry: catalog (names), blobs (content)

A blob is visible in a repository only when it was pushed or mounted there. Whatever is accepted can be
pulled: a manifest is refused while a part of it is missing, and a part is not deleted while a manifest
needs it. Who may do what is decided in `access`, before a handler is called.
"""

from ...words.rules import RegistryLimits
from .app import Registry
from .listen import RunningServer, serve

__all__ = ["RegistryLimits", "Registry", "RunningServer", "serve"]
