"""`--squash`: what a build has added to its base, as one layer.

History says so as docker's classic builder does: entries of the build have no layer any more, and one more
names both images. Source: moby, daemon/images/image_squash.go.
"""

from __future__ import annotations

from ...images.layers.squash import squash
from ...words.oci import Descriptor
from .stageprogress import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...stores.store import Store
    from .builder import BuildOptions
    from .report import StepReport
    from .stageprogress import StageProgress


def squashed(store: Store, standing: StageProgress, options: BuildOptions, step: StepReport) -> StageProgress:
    """The stage with one layer above what it began from. Raises NotFound, StoreError."""
    layers, entries, base = standing.base
    beneath, above = standing.layers[:layers], standing.layers[layers:]
    step.line(f"squashing {len(above)} layer{'s' * (len(above) != 1)}")
    made = above[0] if len(above) == 1 else None
    if len(above) > 1:
        made = squash(store, [one for _, one in beneath], [one for _, one in above])
    id = Descriptor.of(standing.config(dict(options.labels)).encode(), "").digest
    said = f"merge {id} to {base}" if base else f"create new from {id}"
    entry: dict[str, Any] = {"created": rfc3339(standing.time_ns), "comment": said}
    if made is None:
        entry["empty_layer"] = True
    added = tuple({**one, "empty_layer": True} for one in standing.history[entries:])
    return standing.replace(
        layers=(*beneath, made) if made else beneath, history=(*standing.history[:entries], *added, entry)
    )
