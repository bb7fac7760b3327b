"""An image as `docker image inspect` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...grammars.gotemplate import Struct
from ...images.model.image import Image, repo_digests
from ...words.reference import Reference
from ..output import rfc3339
from .shapes import SHAPES


def image_document(image: Image) -> Struct:
    """All that is known of it, and docker's zero for the rest."""
    from ..images import size_of

    config, names = image.config, [Reference.parse(name) for name in image.names]
    known = {
        "Id": str(image.id),
        "RepoTags": [name.familiar for name in names if name.tag],
        "RepoDigests": repo_digests(image),
        "Comment": config.raw.get("comment") or _last_comment(image),
        "Created": config.created,
        "DockerVersion": config.raw.get("docker_version"),
        "Author": config.raw.get("author"),
        "Config": config_of(config.run),
        "Architecture": config.platform.architecture,
        "Variant": config.platform.variant,
        "Os": config.platform.os,
        "OsVersion": config.raw.get("os.version"),
        "Size": size_of(image),
        "GraphDriver": {"Name": image.store.driver.name},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": _tagged(image)},
        "Descriptor": known_fields("Descriptor", image.descriptor.to_json()),
    }
    return SHAPES.fill("Image", known)


def config_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an image's config that docker knows."""
    known = known_fields("Config", run)
    if isinstance(run.get("Healthcheck"), Mapping):
        known["Healthcheck"] = known_fields("Healthcheck", run["Healthcheck"])
    return known


def known_fields(shape: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that the type has."""
    fields = SHAPES.fields(shape)
    known = {name: value for name, value in values.items() if name in fields}
    if isinstance(known.get("platform"), Mapping):
        known["platform"] = known_fields("Platform", known["platform"])
    return known


def _last_comment(image: Image) -> str:
    history = image.config.history
    return str(history[-1].get("comment") or "") if history else ""


def _tagged(image: Image) -> str:
    times = [ref.updated for ref in image.store.refs.list() if ref.descriptor.digest == image.digest]
    return rfc3339(max(times, default=0.0))
