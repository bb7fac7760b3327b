"""RUN: a container on a writable tree, whose difference becomes a layer."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from functools import partial

from ...ground import userns
from ...ground.files import os_errors, private_dir, random_name, remove_tree, surely
from ...ground.mounts import reuse
from ...ground.sandbox import Attachment, Stdio
from ...ground.sandbox.launch import run
from ...images.dockerfile.plan import EPOCH
from ...images.layers.ingest import EMPTY_DIFF_ID, commit_layer
from ...images.model.edit import new_config
from ...images.model.platforms import misfit_hint
from ...images.model.runtime import RunOptions, TmpfsMount, VolumeMount, host_line, runtime_config
from ...stores.shared import Shared
from ...words.errors import BuildFailed, ExecFormatError, SandboxError, StoreError
from ...words.mount import Directory, Overlay
from ...words.value import Value
from . import mounts as mounting
from .agents import AgentMount, AgentRelay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ...grammars.dockerfile.instructions import Instruction
    from ...grammars.dockerfile.mounts import RunMount
    from ...images.dockerfile.fold import RunAction
    from ...images.model.limits import Limits
    from ...stores.store import Store
    from ...stores.trees.actives import Active
    from ...words.digest import Digest
    from ...words.mount import Mount
    from ...words.oci import Descriptor, Platform
    from .items import CopySource
    from .report import StepReport
    from .select import Selection
    from .stageprogress import WritingLayer

HOSTNAME = "nacre-build"
_TAIL, _LINES = 16 << 10, 20
"""Bytes and lines of output that the error of a step that failed has."""
_RESOLV = "/etc/resolv.conf"
_OWNERS = (b"chown", b"Invalid argument", b"setgroups", b"seteuid", b"setegid", b"changing ownership")


class RunJob(Value):
    """One RUN, complete. `mounts` have their files, if they show any: where they are from, and which.

    `fill(name, folder)` gives a new cache the files that it has elsewhere.
    """

    action: RunAction
    item: Instruction
    layers: tuple[Digest, ...]
    platform: Platform
    network: str
    mounts: tuple[tuple[RunMount, CopySource | None, Selection | None], ...] = ()
    proxies: tuple[tuple[str, str], ...] = ()
    clamp: int | None = None
    hosts: tuple[str, ...] = ()
    secrets: tuple[tuple[str, bytes], ...] = ()
    shm_size: int = 0
    limits: Limits | None = None
    ulimits: tuple[tuple[str, int, int], ...] = ()
    hostname: str = ""
    agents: tuple[tuple[str, str], ...] = ()
    above: WritingLayer | None = None
    on_fail: Callable[[BuildFailed], Stdio | None] | None = None
    fill: Callable[[str, str], object] | None = None

    @property
    def cache_names(self) -> set[str]:
        """The folders of the caches that it is shown."""
        mounts = [mount for mount, _, _ in self.mounts if mount.kind == "cache"]
        return {mounting.cache_name(mount, self.target(mount)) for mount in mounts}

    def target(self, mount: RunMount) -> str:
        """Where a mount is seen."""
        return os.path.normpath(os.path.join(self.action.workdir, mount.target))

    @property
    def shown_agents(self) -> list[AgentMount]:
        """The SSH agents that it is given, of those that its mounts ask for."""
        given = dict(self.agents)
        asked = [mount for mount, _, _ in self.mounts if mount.kind == "ssh"]
        return [
            AgentMount(mount, given[mounting.agent_id(mount)], number)
            for number, mount in enumerate(asked)
            if mounting.agent_id(mount) in given
        ]


def permit(store: Store, item: Instruction) -> str:
    """What a command lacks on a machine that permits no mounts; "" elsewhere. Raises DockerfileError.

    Asked before a tree is laid out for it.
    """
    if store.driver.mounts_roots:
        return ""
    from ...ground.sandbox import permitted

    try:
        permitted.check()
    except SandboxError as error:
        raise item.error(error.message, hint=error.hint) from None
    return permitted.warning()


def run_job(
    store: Store,
    job: RunJob,
    folders: tuple[str, str],
    report: StepReport,
    ran: Callable[[Active], object] | None = None,
) -> tuple[tuple[Digest, ...], tuple[Descriptor, Digest] | None]:
    """The layers that were beneath, and the one that the command made, None if it changed nothing.

    `folders` are a new one for files that the container is shown, and that of all caches. `ran` is called
    when the command has ended, with what it has made, which is left when this returns.

    Raises BuildFailed, SandboxError, StoreError; then nothing is left.
    """
    running, kept = _RunningJob(store, job, folders, report), False
    try:
        made = running.committed(running.executed(), ran)
        kept = ran is not None
        return made
    finally:
        running.release()
        if not kept:
            surely(store.actives.discard, running.key)
        surely(remove_tree, running.scratch)


class _RunningJob:
    """What `run_job` does, in two halves. Its active is `key`; `release` what its mounts hold."""

    def __init__(self, store: Store, job: RunJob, folders: tuple[str, str], report: StepReport) -> None:
        self.store, self.job = store, job
        self.scratch, self.caches = folders
        self.key, self._watch = random_name(), _Watch(report)
        self._locks: list[mounting.StepResource] = []

    def executed(self) -> Active:
        """What the command has written. Raises BuildFailed."""
        job = self.job
        active = self.store.actives.prepare(self.key, job.layers, job.above.upper if job.above else "")
        private_dir(self.scratch)
        alone = isinstance(active.mount, Directory)
        options = _options(job, self.caches, self.scratch, self._locks, alone)
        config = runtime_config(new_config(job.platform), options)
        try:
            code = self._execute(active, config)
        except SandboxError as error:
            hint = misfit_hint(job.platform) if isinstance(error, ExecFormatError) else error.hint
            raise self._watch.on(_failure(job, error.exit_code, error.message, hint)) from None
        if code:
            raise self._failure(code)
        return active

    def _execute(self, active: Active, config: dict[str, Any]) -> int:
        attached = Attachment(Stdio(-1, -1, -1, log=self._watch.output), signals=False)
        with Shared(self.store.root, _unsynced(active.mount)) as root:
            code = _limited(self.job, config, lambda config: run(config, root, attached))
            if code and self.job.on_fail:
                _again(active.mount)
                _stand(self.job, config, root, self._failure(code))
        return code

    def _failure(self, code: int) -> BuildFailed:
        return self._watch.on(_failure(self.job, code, hint=self._watch.hint))

    def committed(
        self, active: Active, ran: Callable[[Active], object] | None
    ) -> tuple[tuple[Digest, ...], tuple[Descriptor, Digest] | None]:
        """What `run_job` returns. An active that was given to `ran` stays."""
        actives, job = self.store.actives, self.job
        if job.above:
            active = actives.settle(active, (*job.layers, *settled(self.store, job.above)))
        actives.drop_unchanged(active, clamp=job.clamp)
        self.release()
        if ran:
            actives.limit_times(active, job.clamp)
            ran(active)
        descriptor, diff_id, _ = commit_layer(self.store, active, clamp=job.clamp, keep=ran is not None)
        return active.layers, None if diff_id == EMPTY_DIFF_ID else (descriptor, diff_id)

    def release(self) -> None:
        """Let go of what the mounts of the step hold. Doing it twice is harmless."""
        while self._locks:
            self._locks.pop().release()


def _unsynced(root: Mount) -> Mount:
    """What a command writes may be lost with the machine, like the build: an image is synced whole."""
    return root.replace(volatile=True) if isinstance(root, Overlay) else root


def _again(root: Mount) -> None:
    """Let what a command has written be mounted once more."""
    if isinstance(root, Overlay):
        with os_errors("mount the files of the step again"):
            reuse(root)


def _stand(job: RunJob, config: dict[str, Any], root: Mount, error: BuildFailed) -> None:
    """Let the user have a shell where a command failed; what it changes is dropped."""
    assert job.on_fail
    stdio = job.on_fail(error)
    if stdio is None:
        return
    process = {**config["process"], "args": [_shell_of(job)], "terminal": stdio.tty}
    if stdio.tty:
        process["env"] = [*process["env"], "TERM=xterm"]
    _limited(job, {**config, "process": process}, lambda config: run(config, root, Attachment(stdio)))


def _shell_of(job: RunJob) -> str:
    """The shell of the command, else the usual one."""
    command = getattr(job.item, "command", None)
    return job.action.argv[0] if command and command.shell and len(job.action.argv) > 1 else "/bin/sh"


def settled(store: Store, above: WritingLayer) -> tuple[Digest, ...]:
    """The layer that was being written when a command began over it, if it is one; what showed it is gone."""
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(above.pid)
        try:
            select.select([fd], [], [])
        finally:
            os.close(fd)
    record = store.steps.get(above.key)
    if record is None:
        raise StoreError("the layer of the step before could not be written")
    store.actives.discard(above.active)
    return (record.diff_id,) if record.diff_id else ()


def _options(
    job: RunJob, caches: str, scratch: str, locks: list[mounting.StepResource], alone: bool
) -> RunOptions:
    """`alone`: a cache is moved into the root, so that no other step can have it at the same time."""
    action = job.action
    volumes, temporary = _mounts(job, caches, scratch, locks, alone)
    return RunOptions(
        command=action.argv, entrypoint=(),
        environment=_environment(job),
        working_dir=action.workdir, user=action.user, hostname=job.hostname or HOSTNAME, volumes=volumes,
        temporary=temporary, files=_etc_files(scratch, job), network=job.network,
        shm_size=job.shm_size, ulimits=job.ulimits, privileged=action.insecure,
    )  # fmt: skip


def _limited(job: RunJob, config: dict[str, Any], work: Callable[[dict[str, Any]], int]) -> int:
    """Do `work` with the config of a program that has the limits of the job."""
    if job.limits is None:
        return work(config)
    from ...ground.limits.groups import StepGroups
    from ...ground.limits.machine import disk_numbers
    from ...images.model.limits import resources

    with StepGroups(resources(job.limits, disk_numbers), job.limits.cgroup_parent) as folders:
        return work(config | {"linux": config["linux"] | {"groups": folders}})


def _mounts(
    job: RunJob, caches: str, scratch: str, locks: list[mounting.StepResource], alone: bool
) -> tuple[tuple[VolumeMount, ...], tuple[TmpfsMount, ...]]:
    volumes, temporary = [], []
    if job.action.scripts:
        volumes.append(VolumeMount(_scripts(job.action.scripts, scratch), "/dev/pipes", True, "lend"))
    for number, (mount, source, chosen) in enumerate(job.mounts):
        target = job.target(mount)
        if mount.kind == "tmpfs":
            size = (f"size={mount.size}",) if mount.size else ()
            temporary.append(TmpfsMount(target, ("mode=1777", *size)))
        elif mount.kind == "cache":
            name = mounting.cache_name(mount, target)
            make = partial(mounting.new_cache, mount, source, chosen, f"{scratch}/cache-{number}")
            if job.fill:
                make = partial(_filled, make, partial(job.fill, name))
            path = mounting.cache_folder(mount, f"{caches}/{name}", locks, make, alone=alone)
            volumes.append(VolumeMount(path, target, mount.readonly, "lend"))
        elif mount.kind == "secret":
            volumes += mounting.secret(mount, dict(job.secrets), f"{scratch}/secret-{number}")
        elif source and chosen:
            path = mounting.copy_out(source, chosen, f"{scratch}/bind-{number}")
            volumes.append(VolumeMount(path, target, mount.readonly, "lend"))
    for wanted in job.shown_agents:
        relay = AgentRelay(wanted, scratch)
        locks.append(relay)
        volumes.append(relay.volume)
    return tuple(volumes), tuple(temporary)


def _filled(make: Callable[[], str], fill: Callable[[str], object]) -> str:
    """A new cache, with the files that it has elsewhere."""
    path = make()
    fill(path)
    return path


def _environment(job: RunJob) -> tuple[str, ...]:
    agents = [("SSH_AUTH_SOCK", wanted.target) for wanted in job.shown_agents[:1]]
    dated = [] if job.clamp is None else [(EPOCH, str(job.clamp))]
    pairs = (*job.proxies, *dated, *agents, *job.action.env, *_revealed(job))
    return tuple(f"{name}={value}" for name, value in pairs)


def _scripts(scripts: Sequence[tuple[str, str]], scratch: str) -> str:
    folder = f"{scratch}/pipes"
    private_dir(folder)
    os.chmod(folder, 0o755)
    for name, content in scripts:
        _write(f"{folder}/{os.path.basename(name)}", content.encode("utf-8", "surrogateescape"), 0o755)
    return folder


def _revealed(job: RunJob) -> list[tuple[str, str]]:
    """Secrets that mounts want as variables."""
    given = dict(job.secrets)
    wanted = [(mount.env, mounting.secret_id(mount)) for mount, _, _ in job.mounts if mount.env]
    return [(name, os.fsdecode(given[key])) for name, key in wanted if key in given]


def _etc_files(scratch: str, job: RunJob) -> tuple[VolumeMount, ...]:
    """resolv.conf as the host has it, and a hosts file that knows the container's name; both copies."""
    name = job.hostname or HOSTNAME
    hosts = f"127.0.0.1\tlocalhost {name}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    hosts += "".join(map(host_line, job.hosts))
    try:
        with open(_RESOLV, "rb") as file:
            resolv = file.read(1 << 16)
    except OSError:
        resolv = b""
    _write(f"{scratch}/hosts", hosts.encode("utf-8", "surrogateescape"), 0o644)
    _write(f"{scratch}/resolv.conf", resolv, 0o644)
    pairs = ((f"{scratch}/resolv.conf", _RESOLV), (f"{scratch}/hosts", "/etc/hosts"))
    return tuple(VolumeMount(source, target, standin="copy") for source, target in pairs)


def _write(path: str, data: bytes, mode: int) -> None:
    with os_errors(f"write {path}"), open(path, "xb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)


class _Watch:
    """Hands on a program's output, notes whether it could not change owners, and keeps what came last."""

    def __init__(self, report: StepReport) -> None:
        self._report = report
        self._owners = False
        self._tail = b""

    def output(self, stream: str, data: bytes) -> None:
        self._tail = (self._tail + data)[-_TAIL:]
        self._owners = self._owners or any(word in data for word in _OWNERS)
        self._report.output(stream, data)

    @property
    def hint(self) -> str:
        """Where no other id exists, why that may be; else ""."""
        if not self._owners or not userns.current().single:
            return ""
        return "this user has a single id, so owners are only kept beside the files: see 'nacre info'"

    def on(self, error: BuildFailed) -> BuildFailed:
        """The error, with the step and the last lines of its output."""
        lines = self._tail.decode("utf-8", "replace").rstrip("\n").split("\n")
        error.step, error.output = self._report.title, "\n".join(lines[-_LINES:])
        return error


def _failure(job: RunJob, code: int, why: str = "", hint: str = "") -> BuildFailed:
    """docker's sentence for a command that failed, with its place."""
    words = " ".join(job.action.argv)
    shown = words if len(words) <= 500 else words[:500] + "…"
    reason = f": {why}" if why else ""
    return BuildFailed(
        f'{job.item.where}: process "{shown}" did not complete successfully: exit code: {code}{reason}',
        code=code, hint=hint, file=job.item.line.file, line=job.item.line.line,
        last_line=job.item.line.end_line,
    )  # fmt: skip
