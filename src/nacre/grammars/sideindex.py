"""What is attached to an image so that it can run before its content is here: the names."""

from __future__ import annotations

ARTIFACT = "application/vnd.nacre.image.lazy.v1"
"""The artifact type of a manifest whose subject is an image's; its layers are of the two types below."""
INDEX = "application/vnd.nacre.layer.index.v1"
"""The index of one layer."""
PROFILE = "application/vnd.nacre.image.profile.v1+json"
"""What a program reads of an image."""
LAYER = "dev.nacre.layer.digest"
"""The annotation of an index that names its layer by digest."""
MAX_BLOB = 64 << 20
"""Most bytes of an index or a profile."""
