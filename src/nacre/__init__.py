"""Container images without a daemon. `open_store` is where to begin; see docs/api.md."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine import Built, Completed, Engine, open_store
    from .images.check import Finding, Report
    from .images.copying import Copied
    from .images.explore import Exploration
    from .images.image import Image, Layer
    from .images.manifestlist import Pushed
    from .images.mirroring import Outcome
    from .images.transfer import PullResult, PushResult
    from .images.usage import DiskUsage
    from .services.client.search import Found
    from .words.digest import Digest
    from .words.errors import NacreError
    from .words.oci import Descriptor, Platform
    from .words.progress import Progress
    from .words.reference import Reference

__version__ = "0.1.0"

_HOMES = {
    "Built": "engine", "Completed": "engine", "Engine": "engine", "open_store": "engine",
    "Finding": "images.check", "Report": "images.check", "DiskUsage": "images.usage",
    "Exploration": "images.explore", "Image": "images.image", "Layer": "images.image",
    "Found": "services.client.search", "Outcome": "images.mirroring", "Pushed": "images.manifestlist",
    "Copied": "images.copying", "PullResult": "images.transfer", "PushResult": "images.transfer",
    "Digest": "words.digest", "NacreError": "words.errors", "Descriptor": "words.oci",
    "Platform": "words.oci", "Progress": "words.progress", "Reference": "words.reference",
}  # fmt: skip

__all__ = [
    "Built", "Completed", "Copied", "Descriptor", "Digest", "DiskUsage", "Engine", "Exploration", "Finding",
    "Found", "Image", "Layer", "NacreError", "Outcome", "Platform", "Progress", "PullResult", "PushResult",
    "Pushed", "Reference", "Report", "open_store",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Names are imported when first used, so that `nacre run` pays only for what it needs."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nacre' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
