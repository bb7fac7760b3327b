"""A volume as `docker volume inspect` shows it."""

from __future__ import annotations

from ...grammars.gotemplate import Struct
from ...stores.volumes import Volume
from ..output import local_rfc3339
from .shapes import SHAPES


def volume_document(volume: Volume) -> Struct:
    """All that is known of it, and docker's zero for the rest."""
    known = {
        "CreatedAt": local_rfc3339(volume.created),
        "Driver": "local",
        "Labels": dict(volume.labels) or None,
        "Options": dict(volume.options) or None,
        "Mountpoint": volume.path,
        "Name": volume.name,
        "Scope": "local",
    }
    return SHAPES.fill("Volume", known)
