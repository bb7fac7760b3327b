"""Edits of images: pure functions from one config to the next, and `write_image`, which stores the result."""

from __future__ import annotations

from ...words.digest import Digest
from ...words.errors import DockerfileError, UsageError
from ...words.oci import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Manifest,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ...grammars.dockerfile.syntax import RawInstruction
    from ...stores.store import Store
    from ...words.oci import Platform

_ORDER = ("created", "author", "architecture", "variant", "os", "os.version", "config", "rootfs", "history")
_OCI_TO_DOCKER = {OCI_CONFIG: DOCKER_CONFIG, OCI_LAYER: DOCKER_LAYER, OCI_LAYER_GZIP: DOCKER_LAYER_GZIP}
_DOCKER_TO_OCI = {docker: oci for oci, docker in _OCI_TO_DOCKER.items()}


def new_config(platform: Platform, *, created: str = "", author: str = "") -> ImageConfig:
    """The config of an image with no layer. `created` is an RFC 3339 time or "" (left out)."""
    fields: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os, "config": {}}
    fields |= {"rootfs": {"type": "layers", "diff_ids": []}, "history": []}
    extra = {"variant": platform.variant, "os.version": platform.os_version}
    return _config(fields, extra | {"created": created, "author": author})


def append_layer(
    config: ImageConfig, diff_id: Digest, created_by: str, *,
    created: str = "", comment: str = "", author: str = "",
) -> ImageConfig:  # fmt: skip
    """`config` with one more layer and its entry in the history; `created` becomes the image's time too."""
    rootfs = {"type": "layers", "diff_ids": [*config.diff_ids, diff_id]}
    grown = _config({**config.raw, "rootfs": rootfs})
    return _with_history(grown, created_by, created, comment, author, empty=False)


def append_history(
    config: ImageConfig, created_by: str, *, created: str = "", comment: str = "", author: str = ""
) -> ImageConfig:
    """`config` with an entry in the history that has no layer (`empty_layer`)."""
    return _with_history(config, created_by, created, comment, author, empty=True)


def with_run(config: ImageConfig, /, **changes: Any) -> ImageConfig:
    """`config` with fields of its `config` object (Env, Cmd, …) replaced; None takes a field out."""
    run = {**config.run, **changes}
    return _config({**config.raw, "config": {key: value for key, value in run.items() if value is not None}})


def with_fields(config: ImageConfig, /, **changes: Any) -> ImageConfig:
    """`config` with fields of the document itself (created, author, …) replaced; None takes one out."""
    fields = {**config.raw, **changes}
    return _config({key: value for key, value in fields.items() if value is not None})


def _with_history(
    config: ImageConfig, created_by: str, created: str, comment: str, author: str, *, empty: bool
) -> ImageConfig:
    step = {"created": created, "author": author, "created_by": created_by, "comment": comment}
    entry: dict[str, Any] = {key: text for key, text in step.items() if text}
    if empty:
        entry["empty_layer"] = True
    return _config({**config.raw, "history": [*config.history, entry]}, {"created": created})


def _config(fields: Mapping[str, Any], extra: Mapping[str, str] | None = None) -> ImageConfig:
    """A config with the keys in one order, so that equal content has an equal digest."""
    merged = {**fields, **{key: text for key, text in (extra or {}).items() if text}}
    known = {key: merged[key] for key in _ORDER if key in merged}
    return ImageConfig.from_json(known | {key: merged[key] for key in sorted(merged) if key not in known})


def with_env(config: ImageConfig, name: str, value: str) -> ImageConfig:
    """`config` with one variable set, in its old place if it has one."""
    pairs = dict(item.partition("=")[::2] for item in config.env)
    pairs[name] = value
    return with_run(config, Env=[f"{key}={text}" for key, text in pairs.items()])


def apply_change(config: ImageConfig, text: str) -> ImageConfig:
    """`config` after one instruction of a Dockerfile, as `--change` of docker's import and commit.

    CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR.
    Raises UsageError.
    """
    from ...grammars.dockerfile.syntax import read

    try:
        for node in read(text, "--change").nodes:
            change = _CHANGES.get(node.name.upper())
            if change is None:
                raise UsageError(
                    f"{node.name} is not a valid change command",
                    hint=f"valid are {', '.join(sorted(_CHANGES))}",
                )
            config = change(config, node)
    except DockerfileError as error:
        raise UsageError(f"bad change {text!r}: {error.message}") from None
    return config


def _words(config: ImageConfig, node: RawInstruction) -> list[str]:
    """The arguments with variables of the image replaced, as docker does outside of CMD and ENTRYPOINT."""
    from ...grammars.dockerfile.expand import expand

    env = dict(item.partition("=")[::2] for item in config.env)
    words = [expand(arg, env, file="--change") for arg in node.args]
    if not words:
        raise UsageError(f"{node.name} requires at least one argument")
    return words


def _pairs(config: ImageConfig, node: RawInstruction) -> list[tuple[str, str]]:
    """The arguments of ENV and LABEL, which the grammar gives in threes: name, value, separator."""
    words = _words(config, node)
    return list(zip(words[0::3], words[1::3], strict=False))


def _command(node: RawInstruction) -> list[str]:
    return list(node.args) if node.json else ["/bin/sh", "-c", *node.args]


def _change_env(config: ImageConfig, node: RawInstruction) -> ImageConfig:
    for name, value in _pairs(config, node):
        config = with_env(config, name, value)
    return config


def _change_label(config: ImageConfig, node: RawInstruction) -> ImageConfig:
    return with_run(config, Labels={**config.labels, **dict(_pairs(config, node))})


def _change_expose(config: ImageConfig, node: RawInstruction) -> ImageConfig:
    ports: dict[str, Any] = {port if "/" in port else f"{port}/tcp": {} for port in _words(config, node)}
    return with_run(config, ExposedPorts={**(config.run.get("ExposedPorts") or {}), **ports})


def _change_volume(config: ImageConfig, node: RawInstruction) -> ImageConfig:
    paths: dict[str, Any] = {path: {} for path in _words(config, node)}
    return with_run(config, Volumes={**(config.run.get("Volumes") or {}), **paths})


def _change_workdir(config: ImageConfig, node: RawInstruction) -> ImageConfig:
    from posixpath import join, normpath

    return with_run(config, WorkingDir=normpath(join("/", config.working_dir, _words(config, node)[0])))


def _change_onbuild(config: ImageConfig, node: RawInstruction) -> ImageConfig:
    if node.child is None:
        raise UsageError("ONBUILD requires at least one argument")
    text = node.line.text.strip()[len("ONBUILD") :].strip()
    return with_run(config, OnBuild=[*(config.run.get("OnBuild") or []), text])


def _change_healthcheck(config: ImageConfig, node: RawInstruction) -> ImageConfig:
    from ...words.durations import nanoseconds

    kind = node.args[0].upper() if node.args else ""
    if kind == "NONE":
        return with_run(config, Healthcheck={"Test": ["NONE"]})
    if kind != "CMD" or len(node.args) < 2:
        raise UsageError("HEALTHCHECK requires NONE or CMD with a command")
    check: dict[str, Any] = {"Test": ["CMD" if node.json else "CMD-SHELL", *node.args[1:]]}
    for flag in node.flags:
        name, _, value = flag.removeprefix("--").partition("=")
        if name == "retries" and value.isdecimal() and len(value) < 20:
            check["Retries"] = int(value)
        elif name in _DURATIONS:
            check[_DURATIONS[name]] = nanoseconds(value)
        else:
            raise UsageError(f"unknown flag of HEALTHCHECK: {flag}")
    return with_run(config, Healthcheck=check)


_DURATIONS = {
    "interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}  # fmt: skip


_CHANGES: dict[str, Callable[[ImageConfig, RawInstruction], ImageConfig]] = {
    "CMD": lambda config, node: with_run(config, Cmd=_command(node)),
    "ENTRYPOINT": lambda config, node: with_run(config, Entrypoint=_command(node)),
    "ENV": _change_env,
    "EXPOSE": _change_expose,
    "HEALTHCHECK": _change_healthcheck,
    "LABEL": _change_label,
    "ONBUILD": _change_onbuild,
    "SHELL": lambda config, node: with_run(config, Shell=list(node.args)),
    "STOPSIGNAL": lambda config, node: with_run(config, StopSignal=_words(config, node)[0]),
    "USER": lambda config, node: with_run(config, User=_words(config, node)[0]),
    "VOLUME": _change_volume,
    "WORKDIR": _change_workdir,
}


def make_manifest(
    config: ImageConfig, layers: Sequence[Descriptor], *,
    annotations: Sequence[tuple[str, str]] = (), media_type: str = "", config_data: bytes = b"",
) -> tuple[Manifest, bytes]:  # fmt: skip
    """The manifest of `config` and `layers`, and the config's bytes. Types are those of one family.

    `config_data`: the bytes that `config` was read from, when its digest must stay.
    """
    docker = media_type == DOCKER_MANIFEST
    notes = [
        () if docker else layer.annotations for layer in layers
    ]  # where its table of contents is, for one
    names = _OCI_TO_DOCKER if docker else _DOCKER_TO_OCI
    data = config_data or config.encode()
    return Manifest(
        DOCKER_MANIFEST if docker else OCI_MANIFEST,
        Descriptor.of(data, DOCKER_CONFIG if docker else OCI_CONFIG),
        tuple(
            Descriptor(names.get(x.media_type, x.media_type), x.digest, x.size, annotations=said)
            for x, said in zip(layers, notes, strict=True)
        ),
        tuple(annotations),
    ), data


def write_image(
    store: Store, config: ImageConfig, layers: Sequence[Descriptor], *,
    annotations: Sequence[tuple[str, str]] = (), media_type: str = "", config_data: bytes = b"",
) -> Descriptor:  # fmt: skip
    """Store config and manifest, make the image known (`refs.remember`); the manifest's descriptor.

    The manifest is an OCI one unless `media_type` is Docker's; layers that came with the media types
    of the other family are named in the words of this one (same bytes, same digests). `config_data`
    are the bytes that `config` was read from, when the image id must stay. Content of an
    image that is being made is kept from the sweep by the lease that the store holds. Idempotent. What of
    the image exists nowhere else is on the disk when this returns.
    """
    manifest, config_data = make_manifest(
        config, layers, annotations=annotations, media_type=media_type, config_data=config_data
    )
    store.blobs.add(config_data)
    data = manifest.encode()
    descriptor = Descriptor(manifest.media_type, store.blobs.add(data), len(data))
    store.trees.sync_trees(config.diff_ids)
    store.refs.remember(descriptor)
    return descriptor
