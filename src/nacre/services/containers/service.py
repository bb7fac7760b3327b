"""Containers of a store.

A container is a row in the database, an active tree and a folder; while it runs one process keeps it
(`keeper`): this one, when the user watches, else a small supervisor (`supervisor`).
"""

from __future__ import annotations

import os
import time

from ...ground.files import surely, trace, unlink
from ...ground.linux import start_time
from ...ground.sandbox import Attachment, Stdio
from ...images.model.runtime import RunOptions, runtime_config
from ...stores.containers import BEGUN, CONTAINER, ContainerRow
from ...stores.database import boot_id
from ...stores.events import of_networks, of_volumes
from ...stores.layout import mount_point
from ...stores.shared import Shared
from ...words.errors import Conflict, ExecFormatError, NacreError, NotFound, SandboxError
from ...words.mount import Overlay
from ...words.quickjson import dumps, loads
from ...words.value import Value
from . import etc, keeper, names
from .listing import ContainerListing
from .record import check_possible, record, shown
from .signalbuffer import SignalBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...grammars.endpoint import NetworkEndpoint
    from ...grammars.ports import Publish
    from ...grammars.restart import RestartPolicy
    from ...ground.files import Lock
    from ...images.model.healthcheck import HealthOptions
    from ...images.model.image import Image
    from ...images.model.limits import Limits
    from ...stores.trees.actives import Active
    from .supervision import Supervision


class CreateRequest(Value):
    """A container to be made. `reference`: the image as the user named it. `runtime`: builtin, crun or runc.

    `hosts` are name:address, `labels` pairs. `auto_remove`: nothing is left of it once it has ended.
    `stop_timeout` in seconds, None for docker's 10, negative for ever. `ports` are exposed (`80/tcp`), which
    is told, and published by `publish_all`. `log_driver` none keeps no log; `log_options` are pairs in
    docker's words (`grammars.logoptions`), already checked. `health` None is as the image says.
    `endpoints` are the networks that it joins, if it has a network of its own; () is the one of `options`.
    `limits` None are none.
    `stdin_once`: the end of the first input is that of the container's.
    `hostname` in `options` is chosen when empty: that of the host on its network, else the short id.
    """

    image: Image
    options: RunOptions
    reference: str = ""
    name: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    auto_remove: bool = False
    runtime: str = "builtin"
    dns: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    stop_signal: str = ""
    stop_timeout: int | None = None
    restart: RestartPolicy | None = None
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    log_driver: str = ""
    log_options: tuple[tuple[str, str], ...] = ()
    health: HealthOptions | None = None
    endpoints: tuple[NetworkEndpoint, ...] = ()
    publish: tuple[Publish, ...] = ()
    publish_all: bool = False
    limits: Limits | None = None
    stdin_once: bool = True

    @property
    def own_network(self) -> bool:
        """Whether its network is more than that of the host or none."""
        return bool(self.endpoints) or self.options.network not in ("host", "none")


class Containers(ContainerListing):
    """All containers of `store`. The process must be `userns.mapped()` to make, start or remove any."""

    def create(self, request: CreateRequest) -> ContainerRow:
        """A new container, not started. Raises Conflict for a name in use, UsageError, StoreError."""
        row, lock = self._begin(request)
        try:
            self.store.containers.update(row.id, state="created")
        finally:
            lock.release()
        return row.replace(state="created")

    def _begin(self, request: CreateRequest) -> tuple[ContainerRow, Lock]:
        """A new container that no sweep takes away while the lock is held."""
        request = self._with_volumes(self._with_namespaces(self._with_network(request)))
        if request.options.userns in ("", "host"):
            request, row, lock = self._insert(request)
        else:
            from . import userns

            request, row, lock = userns.begin(self, request, self._insert)
        try:
            trace("container:begun")
            self._make(request, row)
            self.tell(row, "create")
        except BaseException:
            lock.release()
            self._discard(row)
            raise
        return row, lock

    def _insert(self, request: CreateRequest) -> tuple[CreateRequest, ContainerRow, Lock]:
        """A name that is none of the user's may be taken meanwhile."""
        while True:
            row = self._design(request)
            check_possible(self.store, row)
            self.make_way(row.name)
            try:
                return request, row, self.store.containers.begin(row)
            except Conflict:
                if request.name:
                    raise

    def _with_network(self, request: CreateRequest) -> CreateRequest:
        if not request.own_network:
            return request
        from .endpoints import with_networks

        return with_networks(self, request)

    def _with_namespaces(self, request: CreateRequest) -> CreateRequest:
        if not (request.options.pid or request.options.ipc):
            return request
        from .namespaces import with_others

        return with_others(self, request)

    def _with_volumes(self, request: CreateRequest) -> CreateRequest:
        options, named = request.options, request.image.config.run.get("Volumes") or {}
        if not (options.volumes or options.temporary or named):
            return request
        from .volumes import complete

        return request.replace(options=complete(options, named, self.store.root))

    def make_way(self, name: str) -> None:
        """What was never whole does not keep its name."""
        try:
            self._current(self.store.containers.get(f"/{name}"))
        except NotFound:
            return

    def _make(self, request: CreateRequest, row: ContainerRow) -> None:
        folder = self.folder(row.id)
        options = _with_hostname(request.options, row.id)
        shared = options.network == "host"
        resolver = etc.ResolvConf(request.dns, request.dns_search, request.dns_options)
        hosts = etc.HostsFile(shared, request.hosts, domain=options.domainname)
        etc.write(folder, options.hostname, hosts, resolver)
        self.store.actives.prepare(row.id, request.image.diff_ids)
        if any(volume.name or volume.chown or volume.relabel for volume in options.volumes):
            from . import filling

            filling.prepare(self.store, row, options.volumes)
        self.store.containers.describe(row)

    def _design(self, request: CreateRequest) -> ContainerRow:
        if request.name:
            names.check_name(request.name)
        number = names.new_id()
        options = _with_hostname(request.options, number)
        taken = {volume.target for volume in options.volumes}
        folder = self.folder(options.network.removeprefix(CONTAINER) if _joins(options) else number)
        own = etc.volumes(folder, options.read_only)
        files = tuple(file for file in own if file.target not in taken)
        config = runtime_config(request.image.config, options.replace(files=files))
        return ContainerRow(
            id=number, name=request.name or self._free_name(), image=str(request.image.digest),
            image_ref=request.reference, created=time.time(), state=BEGUN, auto_remove=request.auto_remove,
            command=shown(config["process"]["args"]),
            config_json=dumps(record(request, options, config)),
        )  # fmt: skip

    def _free_name(self) -> str:
        """A name nobody has. Checked once here; the insert decides."""
        while True:
            name = names.new_name()
            try:
                self.store.containers.get(name)
            except NotFound:
                return name

    def run(
        self, request: CreateRequest, stdio: Stdio | None = None, *,
        on_start: Callable[[str], object] | None = None, forward: bool = True,
    ) -> int | None:  # fmt: skip
        """Create, start, wait; the exit code, None when the user has left it alone.

        With `auto_remove` nothing is left, whatever happens.

        `on_start(id)` is called once the container exists. `forward`: signals go to the program; otherwise to
        the handlers that they have here, and what those raise ends it. Raises as `create` and `start`.
        """
        self.permit()
        row, lock = self._begin(request)
        try:
            if on_start:
                on_start(row.id)
            return self._attend(row, stdio or Stdio(), forward)
        except BaseException:  # a signal may come before `keep` sees to it
            if row.auto_remove and not (stdio and stdio.is_detachable):
                surely(self._discard, row)
            raise
        finally:
            lock.release()

    def run_apart(
        self, request: CreateRequest, stdio: Stdio, *, on_start: Callable[[str], object] | None = None
    ) -> int:
        """As `run`, under a supervisor: a signal ends only this, and the container goes on. No terminal."""
        from .supervisor import attend

        self.permit()
        row, lock = self._begin(request)
        try:
            if on_start:
                on_start(row.id)
            return attend(type(self), self.store, row, stdio)
        finally:
            lock.release()

    def run_detached(self, request: CreateRequest, *, on_start: Callable[[str], object] | None = None) -> str:
        """Create, start under a supervisor; the id, once the program runs. Raises as `create` and `start`."""
        self.permit()
        row, lock = self._begin(request.replace(stdin_once=False))
        try:
            if on_start:
                on_start(row.id)
            self.start_detached(row.id)
        finally:
            lock.release()
        return row.id

    def permit(self) -> str:
        """What a program lacks on a machine that permits no mounts; "" elsewhere.

        Raises SandboxError where none can be run at all.
        """
        if self.store.driver.mounts_roots:
            return ""
        from ...ground.sandbox import permitted

        permitted.check()
        return permitted.warning()

    def start(self, text: str, stdio: Stdio | None = None) -> int | None:
        """Start a container and stay with it to its end; the exit code, None when the user has left it alone.

        Raises NotFound, Conflict when it runs, SandboxError, CommandNotFound, CommandNotExecutable.
        """
        return self._attend(self.get(text), stdio or Stdio())

    def start_detached(self, text: str) -> None:
        """Start a container under a supervisor and return once its program runs. Raises as `start`.

        A container that runs already is left alone.
        """
        row = self.get(text)
        if row.is_live:
            from .pausing import check_not_paused

            check_not_paused(self, row, "cannot start a paused container, try unpause instead")
        else:
            from .supervisor import launch

            launch(type(self), self.store, row)

    def _attend(self, row: ContainerRow, stdio: Stdio, forward: bool = True) -> int | None:
        if not stdio.is_detachable:
            return self._keep_logged(row, stdio, forward)
        from .supervisor import attend_terminal

        return attend_terminal(type(self), self.store, row, stdio)

    def _keep_logged(self, row: ContainerRow, stdio: Stdio, forward: bool = True) -> int:
        """In this process. What remains after its end is logged as well, for `logs`."""
        record, attached = loads(row.config_json), Attachment(stdio)
        if row.auto_remove and record.get("log_driver") != "journald":
            return self.keep(row, attached, forward=forward)
        from .logdrivers import open_log

        log = open_log(self.store.containers.file(row.id, "log"), row, record)
        if log is None:
            return self.keep(row, attached, forward=forward)
        attached = attached.replace(stdio=stdio.replace(log=log.write))
        return self.keep(row, attached, on_end=log.close, forward=forward)

    def keep(
        self, row: ContainerRow, attached: Attachment,
        on_end: Callable[[], object] | None = None, *, forward: bool = True,
    ) -> int:  # fmt: skip
        """Hold the container's lock, run it, record how it ended; the exit code. Raises as `start`.

        `on_end` is called after the end and before anybody who waits for it learns of it. `forward` as
        in `run`.
        """
        kept = keeper.Keeper(self.folder(row.id))
        code = SandboxError.exit_code
        shield = SignalBuffer(kept.control, forward=forward)
        trace("container:kept")
        again, goes_on = self._restarts(row, kept, shield), False
        try:
            if again:
                attached = attached.replace(on_signal=again.signalled)
            code = self.attempt(row, attached, kept, shield)
            if again:
                goes_on = self._leave_to_another(again, row, code)
            else:
                self._ended(row, code)
            return code
        except NacreError as error:
            code = error.exit_code
            raise
        finally:
            if on_end:
                on_end()
            if goes_on:
                kept.close()
            else:
                self.let_go(row, kept, code)
            shield.close()

    def _restarts(self, row: ContainerRow, kept: keeper.Keeper, shield: SignalBuffer) -> Supervision | None:
        if not loads(row.config_json).get("restart"):
            return None
        from .supervision import Supervision

        again = Supervision(self, row, kept, shield)
        again.begin()
        return again

    def _leave_to_another(self, again: Supervision, row: ContainerRow, code: int) -> bool:
        """What comes after the first end is not this process's, as docker's client ends with it."""
        again.ended(code)
        if again.goes_on:
            from .supervisor import go_on_apart

            go_on_apart(again, type(self), self.store, row)
        return again.goes_on

    def attempt(
        self, row: ContainerRow, attached: Attachment, kept: keeper.Keeper, shield: SignalBuffer
    ) -> int:
        """Run it once; the exit code, which is not recorded. Raises as `start`; that is."""
        runs: list[bool] = []

        def told() -> None:
            runs.append(True)
            of_volumes(self.store.root, row, mounted=True)
            of_networks(self.store.root, row, connected=True)
            self.tell(row, "start")
            if attached.on_running:
                attached.on_running()

        try:
            running = shield.before(told)
            signals = shield.meanwhile
            return self._run(row, attached.replace(on_running=running, signals=signals, control=kept.control))
        except NacreError as error:
            if isinstance(error, ExecFormatError):
                from ...images.model.platforms import why_not_executed

                error.hint = why_not_executed(self.store, row.image)
            self._failed(row, error, ran=bool(runs))
            raise
        except BaseException:
            self._ended(row, keeper.LOST)
            raise

    def let_go(self, row: ContainerRow, kept: keeper.Keeper, code: int) -> None:
        """Nothing of a `--rm` container is left; whoever waits learns the code."""
        if row.auto_remove and not self.store.containers.is_restarted(row.id):
            self._discard(row)  # before anything is written: its files may have filled the disk
        kept.record(code)
        kept.close()

    def _run(self, row: ContainerRow, attached: Attachment) -> int:
        record = loads(row.config_json)
        other = None
        if record.get("pid_of") or record.get("ipc_of") or record["network"].startswith(CONTAINER):
            from .namespaces import join

            other = join(self, record)
        if "limits" in record:
            from . import limits

            record["config"] = limits.begin(self.store, row, record)
        attached = attached.replace(on_start=self._started(row))
        if record.get("health"):
            from .health import checked

            attached = checked(self, row, record, attached)
        if (record.get("limits") or {}).get("memory"):
            from .oom import noticed

            with noticed(self.store, row, record) as notification:
                return self._run_connected(row, record, other, notification.before(attached))
        return self._run_connected(row, record, other, attached)

    def _run_connected(
        self, row: ContainerRow, record: dict[str, Any], other: ContainerRow | None,
        attached: Attachment,
    ) -> int:  # fmt: skip
        """With its network; `other` is the container whose namespaces it shares."""
        if other:
            from .shared import SharedNetworking

            with SharedNetworking(self.store, row, record["config"], other) as shared:
                record["config"] = shared.config
                return self._run_in(row, record, shared.before(attached))
        if "endpoints" not in record:
            return self._run_in(row, record, attached)
        from .networkshim import networking

        with networking(record)(self.store, row, record) as network:
            record["config"] = network.config
            return self._run_in(row, record, network.before(attached))

    def _run_in(self, row: ContainerRow, record: dict[str, Any], attached: Attachment) -> int:
        active = self.store.actives.find(row.id)
        if active is None:
            raise SandboxError(f"the file system of container {row.name} is missing")
        if os.path.isdir(mount_point(self.store.root, row.id)):
            from ...stores.mounted import check_not_mounted

            check_not_mounted(self.store.root, row.id, row.name)
        if record.get("make"):
            from .ownership import make_folders

            make_folders(record["make"])
        if record.pop("sources", False):
            from .mountsources import ready

            with ready(self.store, record["config"]) as config:
                return self._run_over(active, row, record | {"config": config}, attached)
        return self._run_over(active, row, record, attached)

    def _run_over(
        self, active: Active, row: ContainerRow, record: dict[str, Any], attached: Attachment
    ) -> int:
        """By the runtime of the container, on its root."""
        shared = self._shared(active)
        with shared as root:
            if leave := attached.leave:
                attached = attached.replace(leave=lambda told: leave({**told, "shared": shared.describe()}))
            if record["runtime"] != "builtin":
                from ...ground.sandbox import external
                from .runtime import runtime_of

                return external.run(record["config"], root, runtime_of(self.store, row, record), attached)
            volatile = row.auto_remove and isinstance(root, Overlay)
            if volatile and row.started:
                from .ending import reuse

                reuse(active.mount)
            from ...ground.sandbox.launch import run

            return run(record["config"], root, attached, volatile=volatile)

    def _shared(self, active: Active) -> Shared:
        """Its root, mounted for as long as it runs."""
        return Shared(self.store.root, active.mount)

    def _started(self, row: ContainerRow) -> Callable[[int], None]:
        def record(pid: int) -> None:
            self.store.containers.update(
                row.id, state="running", pid=pid, pid_start=start_time(pid), started=time.time(),
                finished=0.0, exit_code=0, boot=boot_id(),
            )  # fmt: skip
            if row.exit_code or row.started:
                unlink(self.store.containers.file(row.id, "error"))

        return record

    def _ended(self, row: ContainerRow, code: int) -> None:
        self.lift_limits(row)
        self.tell_end(self.store.containers.get(row.id), code)
        if not row.auto_remove:
            self.store.containers.update(row.id, state="exited", pid=0, exit_code=code, finished=time.time())

    def _failed(self, row: ContainerRow, error: NacreError, *, ran: bool) -> None:
        """A container that could not start is as it was, with the code of the error, as docker has it."""
        self.lift_limits(row)
        if ran:
            self.tell_end(self.store.containers.get(row.id), error.exit_code)
        if not row.auto_remove:
            from . import failure

            failure.note(self.store, row, error)
            self.store.containers.update(row.id, state="created", pid=0, exit_code=error.exit_code)


def _with_hostname(options: RunOptions, number: str) -> RunOptions:
    if options.hostname:
        return options.replace(hostname_wished=True)
    shared = "host" in (options.network, options.uts)
    return options.replace(hostname=os.uname().nodename if shared else number[:12])


def _joins(options: RunOptions) -> bool:
    return options.network.startswith(CONTAINER)
