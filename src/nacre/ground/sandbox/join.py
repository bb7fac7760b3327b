"""Running one more program in a container that runs already."""

from __future__ import annotations

from ...words.errors import Conflict, SandboxError
from .. import userns
from ..fork import fork_held
from .child import WHAT, hide, listen, opened, stay
from .joining import Joining
from .program import is_root
from .stdio import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..fork import Child
    from .stdio import Streams


def join(config: Mapping[str, Any], pidfd: int, pid: int, attached: Attachment | None = None) -> int:
    """Run `config["process"]` in the namespaces of the process `pid`; the exit code as `run`.

    `pidfd` is a descriptor of that process and makes sure that it is still the one meant. A caller
    that is not `userns.mapped()` must own the container's user namespace. Raises as `run`, Conflict when the
    container has ended.
    """
    attached = attached or Attachment()
    streams = opened(attached.stdio, relayed=not is_root(config), process=pid)
    try:
        if attached.channel < 0 and userns.is_single(pid):
            from .calls import attend_in

            attached = attend_in(config, attached, streams, (pidfd, pid))
        hide(config)
        with _begun(config, streams, pidfd, pid, attached.channel) as started:
            streams.given()
            listen(started, [])
            return stay(started, streams, attached)
    finally:
        streams.close()


def _begun(config: Mapping[str, Any], streams: Streams, pidfd: int, pid: int, channel: int) -> Child:
    if channel >= 0:
        from .zygote import connected

        return connected(config, streams, pidfd, pid, channel)
    try:
        return _held(Joining(config, streams, pidfd, pid))
    except ProcessLookupError:
        raise Conflict("the container is not running") from None
    except OSError as error:
        raise SandboxError(f"cannot enter the container: {error.strerror}") from None


def _held(program: Joining) -> Child:
    try:
        return fork_held(program.prepare, program.begin, what=WHAT, keep=program.kept, through=program.enter)
    finally:
        program.close()
