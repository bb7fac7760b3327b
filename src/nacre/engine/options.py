"""The options of a container in docker's words, and what the services are told of them."""

from __future__ import annotations

import os

from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..grammars.restart import RestartPolicy
    from ..images.model.healthcheck import HealthOptions
    from ..images.model.limits import Limits
    from ..images.model.runtime import Device, RunOptions, Security, TmpfsMount, VolumeMount
    from ..words.oci import Platform
    from .wiring import Wiring


class ContainerOptions(Value):
    """What `nacre run` says of a container, in the same words; what is left out is as the image says.

    `environment` is `NAME=value`; `volumes`, `mounts`, `tmpfs`, `volumes_from`, `devices`, `device_rules` and
    `security` are as on the command line. `entrypoint` None keeps the image's. `ulimits` are (name, soft,
    hard), -1 for none; `labels`, `sysctls` and `annotations` pairs. `stop_timeout` in seconds, None for
    docker's 10, negative for ever. `auto_remove`: nothing is left of it once it has ended. `log_driver` none
    keeps no log, `restart` is a policy as for `--restart`, `log_options` are pairs in docker's
    words. `network` and `networks`, which it joins as well, are names, or in docker's long form
    `name=NAME,alias=ALIAS,ip=ADDRESS`; `ports` are exposed, `publish` is as for `-p`. The times of
    `health_…` are seconds; what is 0 or empty is as the image says, else docker's default. `platform`
    and `pull` (missing, always or never) say which image is taken. `limits` None are none.
    """

    name: str = ""
    platform: Platform | None = None
    pull: str = "missing"
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    interactive: bool = False
    volumes: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    device_rules: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    userns: str = ""
    read_only: bool = False
    network: str = "default"
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    security: tuple[str, ...] = ()
    shm_size: int = 64 << 20
    init: bool = False
    groups: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    oom_score: int | None = None
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    auto_remove: bool = False
    runtime: str = "builtin"
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    stop_signal: str = ""
    stop_timeout: int | None = None
    restart: str = ""
    ports: tuple[str, ...] = ()
    log_driver: str = ""
    log_options: tuple[tuple[str, str], ...] = ()
    health_cmd: str = ""
    health_interval: float = 0.0
    health_timeout: float = 0.0
    health_start_period: float = 0.0
    health_start_interval: float = 0.0
    health_retries: int = 0
    no_healthcheck: bool = False
    networks: tuple[str, ...] = ()
    network_aliases: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac_address: str = ""
    publish: tuple[str, ...] = ()
    publish_all: bool = False
    limits: Limits | None = None


def run_options(engine: Wiring, command: tuple[str, ...], options: ContainerOptions) -> RunOptions:
    """What the sandbox is told. Raises UsageError."""
    from ..images.model.runtime import RunOptions

    volumes, temporary = _volumes(engine, options)
    return _with_cdi(engine, options, RunOptions(
        command=command, entrypoint=options.entrypoint,
        environment=_with_proxies(engine, options.environment), working_dir=options.working_dir,
        user=options.user, hostname=options.hostname, domainname=options.domainname, tty=options.tty,
        interactive=options.interactive, volumes=volumes, temporary=temporary, devices=_devices(options),
        device_rules=options.device_rules, userns=options.userns,
        read_only=options.read_only, network=_mode(options),
        cap_add=options.cap_add, cap_drop=options.cap_drop, privileged=options.privileged,
        security=_security(options), shm_size=options.shm_size, init=options.init,
        groups=options.groups, ulimits=options.ulimits, sysctls=options.sysctls, oom_score=options.oom_score,
        pid=options.pid, ipc=options.ipc, uts=options.uts, cgroupns=options.cgroupns,
        annotations=options.annotations, mounted_as=_mounted_as(options, volumes),
    ))  # fmt: skip


def _with_cdi(engine: Wiring, options: ContainerOptions, run: RunOptions) -> RunOptions:
    """With the devices that have a name of their vendor, and all that belongs to them."""
    names = [text for text in options.devices if _is_cdi(text)]
    if not (names or options.gpus):
        return run
    from ..services.containers.cdi import gpus, inject

    names += [name for text in options.gpus for name in gpus(text)]
    hooks = options.runtime != "builtin"
    return inject(run, names, hooks=hooks, folders=engine.config.cdi_folders)


def _is_cdi(text: str) -> bool:
    """Whether it is no path but VENDOR/CLASS=NAME."""
    if "=" not in text:
        return False
    from ..grammars.cdi import is_qualified

    return is_qualified(text)


def log_options(options: ContainerOptions) -> tuple[tuple[str, str], ...]:
    """Those of the log, checked. Raises UsageError, Unsupported."""
    if options.log_driver or options.log_options:
        from ..grammars.logoptions import parse_log_options

        parse_log_options(options.log_driver, options.log_options)
    return options.log_options


def health_options(options: ContainerOptions) -> HealthOptions | None:
    """What they say of the health check; None if they say nothing. Raises UsageError."""
    times = (
        options.health_interval, options.health_timeout, options.health_start_period,
        options.health_start_interval,
    )  # fmt: skip
    if not (options.health_cmd or any(times) or options.health_retries or options.no_healthcheck):
        return None
    from ..images.model.healthcheck import HealthOptions

    return HealthOptions(options.health_cmd, *times, options.health_retries, options.no_healthcheck)


def restart_policy(options: ContainerOptions) -> RestartPolicy | None:
    """None for the policy `no`. Raises UsageError."""
    if options.restart in ("", "no"):
        return None
    from ..grammars.restart import parse_restart
    from ..words.errors import UsageError

    try:
        found = parse_restart(options.restart)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if options.auto_remove and found.name != "no":
        raise UsageError("conflicting options: cannot specify both --restart and --rm")
    return None if found.name == "no" else found


def joins_nothing(options: ContainerOptions) -> bool:
    """Whether nothing is asked for but the network of the host, or none."""
    more = (options.networks, options.network_aliases, options.ip, options.ip6, options.mac_address)
    return options.network in ("host", "none") and not any((*more, options.publish, options.publish_all))


def _mode(options: ContainerOptions) -> str:
    if joins_nothing(options):
        return options.network
    from .joining import mode

    return mode(options)


def _with_proxies(engine: Wiring, written: tuple[str, ...]) -> tuple[str, ...]:
    """And the proxies of docker's config.json, in both spellings, unless a variable is written already."""
    proxies = engine.container_proxies()
    if not proxies:
        return written
    from ..images.model.proxies import proxy_variables

    names = {item.partition("=")[0] for item in written}
    found = proxy_variables(proxies).items()
    return (*written, *(f"{name}={value}" for name, value in found if name not in names))


def _volumes(
    engine: Wiring, options: ContainerOptions
) -> tuple[tuple[VolumeMount, ...], tuple[TmpfsMount, ...]]:
    if not _mounts(options):
        return (), ()
    from ..services.containers import volumes

    here, root = _here(options), engine.store.root
    binds = [volume for text in options.volumes_from for volume in volumes.of_container(engine.store, text)]
    binds += [volumes.parse_volume(text, here, root) for text in dict.fromkeys(options.volumes)]
    temporary = [volumes.parse_tmpfs(text) for text in options.tmpfs]
    for written in options.mounts:
        from ..services.containers.mountoption import parse_mount

        mount = parse_mount(written, here, root)
        (binds if hasattr(mount, "source") else temporary).append(mount)  # type: ignore[arg-type]
    _warn_of_labels(engine, binds)
    return tuple(binds), tuple(temporary)


def _mounts(options: ContainerOptions) -> bool:
    return bool(options.volumes or options.tmpfs or options.mounts or options.volumes_from)


def _mounted_as(options: ContainerOptions, volumes: tuple[VolumeMount, ...]) -> tuple[tuple[str, Any], ...]:
    """What stands in docker's `inspect` for the options that `_volumes` has read."""
    if not _mounts(options):
        return ()
    from ..services.containers.mountoption import shown

    here = _here(options)
    binds = [text if text[0] != "." else _absolute(text, here) for text in options.volumes if ":" in text]
    anonymous: dict[str, Any] = {
        volume.target: {} for volume in volumes if volume.anonymous and not volume.inherited
    }
    temporary = (text.partition(":") for text in options.tmpfs)
    return (
        ("Binds", list(dict.fromkeys(binds))), ("VolumesFrom", list(options.volumes_from)),
        ("Mounts", [shown(text, here) for text in options.mounts]), ("Volumes", anonymous),
        ("Tmpfs", {target: words for target, _, words in temporary}),
    )  # fmt: skip


def _here(options: ContainerOptions) -> str:
    """The current directory. One that was removed is an error only for relative paths: FileNotFoundError."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        if any(text.startswith(".") for text in options.volumes) or any(
            "=." in text for text in options.mounts
        ):
            raise
        return "/"


def _absolute(text: str, here: str) -> str:
    source, _, rest = text.partition(":")
    return f"{os.path.normpath(os.path.join(here, source))}:{rest}"


def _warn_of_labels(engine: Wiring, volumes: list[VolumeMount]) -> None:
    if any(volume.relabel for volume in volumes):
        from ..services.containers.ownership import ignored

        if line := ignored(volumes):
            engine.config.warn(line)


def _security(options: ContainerOptions) -> Security:
    from ..images.model.runtime import Security

    if not options.security:
        return Security()
    from .security import read_options

    return read_options(options.security)


def _devices(options: ContainerOptions) -> tuple[Device, ...]:
    if not (options.devices or options.privileged):
        return ()
    from ..services.containers import devices

    listed = tuple(devices.parse_device(text) for text in options.devices if not _is_cdi(text))
    return (devices.all_devices() if options.privileged else ()) + listed
