"""Container images without a daemon. `open_store` is where to begin; see docs/api.md."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine import Built, Config, Engine
    from .engine.containers import Completed
    from .engine.network import NetworkSettings
    from .engine.opening import open_store
    from .engine.options import ContainerOptions
    from .engine.outputs import BuildOutput, OutputResult
    from .images.arrows.copying import Copied
    from .images.arrows.manifestlist import Pushed
    from .images.arrows.mirroring import Outcome
    from .images.arrows.pull import PullResult
    from .images.arrows.push import PushResult
    from .images.attestations.wanted import AttestationOptions
    from .images.audit.check import Report
    from .images.audit.explore import Exploration
    from .images.audit.finding import Finding
    from .images.audit.usage import DiskUsage
    from .images.model.image import Image, Layer
    from .images.model.limits import Limits
    from .services.client.search import SearchResult
    from .words.digest import Digest
    from .words.errors import NacreError
    from .words.oci import Descriptor, Platform
    from .words.progress import Progress
    from .words.reference import Reference
    from .words.replication import ReplicationRule
    from .words.rules import GarbageRules, RegistryRules, RetentionRule, ServingConfig

__version__ = "0.1.0"

_HOMES = {
    "Built": "engine", "Config": "engine", "Engine": "engine", "open_store": "engine.opening",
    "Completed": "engine.containers", "ContainerOptions": "engine.options",
    "NetworkSettings": "engine.network",
    "BuildOutput": "engine.outputs", "OutputResult": "engine.outputs",
    "AttestationOptions": "images.attestations.wanted",
    "Finding": "images.audit.finding", "Report": "images.audit.check", "DiskUsage": "images.audit.usage",
    "Exploration": "images.audit.explore", "Image": "images.model.image", "Layer": "images.model.image",
    "Limits": "images.model.limits",
    "SearchResult": "services.client.search", "Outcome": "images.arrows.mirroring",
    "Pushed": "images.arrows.manifestlist", "Copied": "images.arrows.copying",
    "PullResult": "images.arrows.pull", "PushResult": "images.arrows.push",
    "Digest": "words.digest", "NacreError": "words.errors", "Descriptor": "words.oci",
    "Platform": "words.oci", "Progress": "words.progress", "Reference": "words.reference",
    "GarbageRules": "words.rules", "RegistryRules": "words.rules",
    "RetentionRule": "words.rules", "ReplicationRule": "words.replication", "ServingConfig": "words.rules",
}  # fmt: skip

__all__ = [
    "AttestationOptions", "BuildOutput", "Built", "Completed", "Config", "ContainerOptions", "Copied",
    "Descriptor", "Digest",
    "DiskUsage", "Engine", "Exploration", "Finding", "GarbageRules", "Image", "Layer", "Limits", "NacreError",
    "NetworkSettings", "Outcome", "OutputResult", "Platform", "Progress", "PullResult", "PushResult",
    "Pushed", "Reference", "RegistryRules", "ReplicationRule", "Report", "RetentionRule", "SearchResult",
    "ServingConfig", "open_store",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Names are imported when first used, so that `nacre run` pays only for what it needs."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nacre' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
