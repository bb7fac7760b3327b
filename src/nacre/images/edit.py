"""Edits of images: pure functions from one config to the next, and `write_image`, which stores the result."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..stores import Store
    from ..words.digest import Digest
    from ..words.oci import Descriptor, ImageConfig, Platform


def new_config(platform: Platform, *, created: str = "", author: str = "") -> ImageConfig:
    """The config of an image with no layer. `created` is an RFC 3339 time or "" (left out)."""
    raise NotImplementedError


def append_layer(
    config: ImageConfig, diff_id: Digest, created_by: str, *,
    created: str = "", comment: str = "", author: str = "",
) -> ImageConfig:  # fmt: skip
    """`config` with one more layer and its entry in the history; `created` becomes the image's time too."""
    raise NotImplementedError


def append_history(
    config: ImageConfig, created_by: str, *, created: str = "", comment: str = "", author: str = ""
) -> ImageConfig:
    """`config` with an entry in the history that has no layer (`empty_layer`)."""
    raise NotImplementedError


def with_run(config: ImageConfig, **changes: Any) -> ImageConfig:
    """`config` with fields of its `config` object (Env, Cmd, …) replaced; None takes a field out."""
    raise NotImplementedError


def apply_change(config: ImageConfig, text: str) -> ImageConfig:
    """`config` after one instruction of a Dockerfile, as `--change` of docker's import and commit.

    CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR, HEALTHCHECK.
    Raises UsageError.
    """
    raise NotImplementedError


def write_image(
    store: Store, config: ImageConfig, layers: Sequence[Descriptor], *,
    annotations: Sequence[tuple[str, str]] = (), media_type: str = "",
) -> Descriptor:  # fmt: skip
    """Store config and manifest and make the image known (`refs.remember`); returns the manifest's descriptor.

    The manifest is an OCI one unless `media_type` says Docker's; layers that came with the media
    types of the other family are named in the words of this one (same bytes, same digests). The
    caller holds a lease on the layers until this returns. Idempotent.
    """
    raise NotImplementedError
