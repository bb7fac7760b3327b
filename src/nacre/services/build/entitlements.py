"""What a Dockerfile may do only if the user allows it: docker's --allow.

`security.insecure` is for RUN --security=insecure. `network.host` is for RUN --network=host in a build that
was given another network: where every RUN has the host's there is nothing to allow.
"""

from __future__ import annotations

from ...grammars.dockerfile.tokens import did_you_mean
from ...words.errors import Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...grammars.dockerfile.instructions import Instruction
    from ...images.dockerfile.fold import RunAction
    from .builder import BuildOptions

HOST, INSECURE = "network.host", "security.insecure"
NAMES = (HOST, INSECURE)


def check(allowed: Sequence[str]) -> None:
    """Raise UsageError for what is no entitlement, Unsupported for one that nothing here takes."""
    for name in allowed:
        if name.partition("=")[0] == "device":
            raise Unsupported(f"--allow {name}: a build gets no devices of this machine")
        if name not in NAMES:
            hint = did_you_mean(name, NAMES) or f"use {' or '.join(NAMES)}"
            raise UsageError(f"unknown entitlement {name[:80]}", hint=hint)


def enforce(action: RunAction, item: Instruction, options: BuildOptions) -> None:
    """Raise DockerfileError for a RUN that needs an entitlement which was not given."""
    if action.insecure and INSECURE not in options.allow:
        raise _missing(item, "--security=insecure", INSECURE)
    if action.network == "host" != options.network and HOST not in options.allow:
        raise _missing(item, "--network=host", HOST)


def _missing(item: Instruction, flag: str, name: str) -> Exception:
    return item.error(
        f"RUN {flag} is not allowed", hint=f"allow it with --allow {name}, if you trust the file"
    )
