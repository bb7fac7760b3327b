"""Devices of the Container Device Interface: found in specs on this machine, put into the options of a run.

Read when the container is made. Later folders go before earlier ones; two files of one folder that know a
device are a conflict. Source: container-device-interface pkg/cdi, docker/cli opts/gpus.go.
"""

from __future__ import annotations

import os

from ...grammars.cdi import CdiEdits, CdiSpec, parse_spec
from ...grammars.csvline import read_record
from ...images.model.runtime import Device, VolumeMount
from ...words.errors import NacreError, NotFound, StoreError, Unsupported, UsageError
from .devices import device_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...grammars.cdi import CdiHook, CdiMount, CdiNode
    from ...images.model.runtime import RunOptions

_MOST = 4 << 20
_GPU = "nvidia.com/gpu"
_KEYS = ("driver", "count", "device", "capabilities", "options")
_CAPABILITIES = frozenset(("gpu", "nvidia", "compute", "utility", "graphics", "video", "display", "compat32"))


def gpus(text: str) -> list[str]:
    """The devices of `--gpus`: `all`, a count, `device=0,1` (quoted as in CSV). Raises UsageError."""
    fields: dict[str, str] = {}
    for word in read_record(text):
        key, equals, value = word.partition("=")
        key, value = (key, value) if equals else ("count", word)
        if key not in _KEYS:
            raise UsageError(f"invalid --gpus {text!r}: unexpected key '{key}' in '{word}'")
        if key in fields:
            raise UsageError(f"invalid --gpus {text!r}: gpu request key '{key}' can be specified only once")
        fields[key] = value
    _check_gpus(text, fields)
    if "device" in fields:
        return [f"{_GPU}={name}" for name in fields["device"].split(",")]
    count = fields.get("count", "1")
    names = ["all"] if count in ("all", "-1") else [str(number) for number in range(int(count))]
    return [f"{_GPU}={name}" for name in names]


def _check_gpus(text: str, fields: dict[str, str]) -> None:
    count = fields.get("count", "1")
    wrong = ""
    if not (count in ("all", "-1") or (count.isascii() and count.isdigit() and len(count) < 4)):
        wrong = f"count must be an integer or all, not {count!r}"
    elif "count" in fields and "device" in fields:
        wrong = "cannot set both Count and DeviceIDs on device request"
    elif fields.get("driver", "nvidia") not in ("nvidia", "cdi", ""):
        wrong = f"there is no driver {fields['driver']!r}"
    elif not set(filter(None, fields.get("capabilities", "").split(","))) <= _CAPABILITIES:
        wrong = f"capabilities {fields['capabilities']!r} cannot be requested"
    elif fields.get("options"):
        wrong = "options are not supported"
    if wrong:
        raise UsageError(f"invalid --gpus {text!r}: {wrong}")


def inject(options: RunOptions, names: Sequence[str], *, hooks: bool, folders: Iterable[str]) -> RunOptions:
    """The options with the devices of these qualified names.

    `hooks`: the runtime can run programs of its own beside the container. Raises NotFound, Unsupported,
    StoreError.
    """
    options = options.replace(cdi=tuple(dict.fromkeys(names)))
    for edits in _find(options.cdi, tuple(folders)):
        if edits.hooks and not hooks:
            raise Unsupported(
                f"the CDI hook {edits.hooks[0].name} {edits.hooks[0].path} needs another runtime",
                hint="use --runtime crun or runc",
            )
        options = options.replace(
            environment=(*options.environment, *edits.env),
            devices=(*options.devices, *map(_node, edits.nodes)),
            injections=(*options.injections, *map(_mount, edits.mounts)),
            hooks=(*options.hooks, *map(_hook, edits.hooks)),
            groups=(*options.groups, *map(str, edits.groups)),
        )
    return options


def _mount(mount: CdiMount) -> VolumeMount:
    words = tuple(word for word in mount.options if word not in ("ro", "rw", "rbind"))
    return VolumeMount(mount.source, mount.target, "ro" in mount.options, options=words)


def _hook(hook: CdiHook) -> tuple[str, str, tuple[str, ...], tuple[str, ...], int]:
    return hook.name, hook.path, hook.args, hook.env, hook.timeout


def _find(names: Sequence[str], folders: tuple[str, ...]) -> list[CdiEdits]:
    """Those of a spec once, then those of each device."""
    specs, errors = _specs(folders)
    found: list[CdiEdits] = []
    seen: list[CdiSpec] = []
    for name in dict.fromkeys(names):
        kind, _, device = name.partition("=")
        spec = next((one for one in specs if one.kind == kind and device in dict(one.devices)), None)
        if spec is None:
            raise NotFound(
                f"CDI device injection failed: unresolvable CDI devices {name}", hint=_why(folders, errors)
            )
        if spec not in seen:
            seen.append(spec)
            found.append(spec.edits)
        found.append(dict(spec.devices)[device])
    return found


def _why(folders: tuple[str, ...], errors: list[str]) -> str:
    if errors:
        return errors[0]
    return f"no spec in {' or '.join(folders)} names it"


def _specs(folders: tuple[str, ...]) -> tuple[list[CdiSpec], list[str]]:
    """The most important first; and what is wrong with files that cannot be read."""
    specs: list[CdiSpec] = []
    errors: list[str] = []
    for folder in reversed(folders):
        here: dict[str, str] = {}
        for path in _files(folder):
            try:
                spec = parse_spec(_content(path), path)
            except NacreError as error:
                errors.append(error.message)
                continue
            names = [f"{spec.kind}={name}" for name, _ in spec.devices]
            _check_conflicts(names, path, here)
            specs.append(spec)
    return specs, errors


def _check_conflicts(names: list[str], path: str, here: dict[str, str]) -> None:
    for name in names:
        if name in here:
            raise StoreError(f"the CDI device {name} is in {here[name]} and in {path}")
        here[name] = path


def _files(folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names if name.endswith((".json", ".yaml", ".yml"))]


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > _MOST:
        raise StoreError(f"{path} is larger than 4 MiB")
    return data


def _node(node: CdiNode) -> Device:
    """What the spec leaves out is as at the node of this machine. Raises NotFound."""
    if node.kind and node.major >= 0 and node.minor >= 0:
        return Device(
            os.path.normpath(node.path), node.kind, node.major, node.minor,
            node.mode if node.mode >= 0 else 0o666, node.access, max(node.uid, 0), max(node.gid, 0),
            "" if node.source == node.path else node.source,
        )  # fmt: skip
    try:
        info = os.stat(node.source)
    except OSError as error:
        raise NotFound(f"the device {node.source} of a CDI spec: {error.strerror}") from None
    here = device_of(info, node.source, node.path, node.access)
    if here is None or node.kind not in ("", here.kind):
        raise NotFound(f"the device {node.source} of a CDI spec is no such device node")
    said = {"mode": node.mode, "uid": node.uid, "gid": node.gid}
    return here.replace(**{name: value for name, value in said.items() if value >= 0})
