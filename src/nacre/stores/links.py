"""What an image in the usual form names, read without checking everything else: a tenth of the time.

A question about all images of a store should not take longer than reading their documents. What is not in the
usual form gives None; `words.oci` then says what is wrong with it, if anything is.
"""

from __future__ import annotations

from ..words.digest import Digest
from ..words.errors import InvalidName
from ..words.oci import DOCKER_CONFIG, OCI_CONFIG
from ..words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
_UNUSUAL = (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidName)


def manifest_links(data: bytes) -> tuple[Digest, list[str]] | None:
    """The config and the layers of a manifest, lowest first."""
    try:
        fields = loads(data)
        config, layers = fields["config"], fields["layers"]
        usual = fields["schemaVersion"] == 2 and config["mediaType"] in _CONFIGS and "manifests" not in fields
        if not usual or any(layer["mediaType"].endswith("+encrypted") for layer in layers):
            return None
        return Digest(config["digest"]), [_text(layer["digest"]) for layer in layers]
    except _UNUSUAL:
        return None


def config_links(data: bytes) -> tuple[dict[str, Any], list[str]] | None:
    """The fields of a config, and the diff ids of its layers, lowest first."""
    try:
        fields = loads(data)
        labels = (fields.get("config") or {}).get("Labels") or {}
        _text(fields.get("created") or ""), list(map(_text, labels.values()))
        return fields, [_text(text) for text in fields["rootfs"]["diff_ids"]]
    except _UNUSUAL:
        return None


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value
