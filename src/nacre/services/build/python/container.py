"""Programs of the base's Python, in a container over layers; what it wrote is kept for a while."""

from __future__ import annotations

from ....grammars.dockerfile.mounts import RunMount
from ....grammars.dockerfile.parse import parse_trigger
from ....ground.files import random_name
from ....images.dockerfile.fold import RunAction
from ....words.value import Value
from ..layers import Layers
from ..run import RunJob, permit, run_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....stores.store import Store
    from ....words.digest import Digest
    from ....words.oci import Platform
    from ..builder import BuildOptions
    from ..report import StepReport


class RunSettings(Value):
    """What every program of one build has: `scratch` and `caches` are folders, `proxies` and `env` pairs."""

    store: Store
    options: BuildOptions
    scratch: str
    caches: str
    proxies: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()


def run_python(
    room: RunSettings, layers: Sequence[Digest], platform: Platform, argv: Sequence[str],
    script: tuple[str, str], report: StepReport,
) -> Layers | None:  # fmt: skip
    """Run `argv` as root over the layers; `script`, a name and its text, is in /dev/pipes.

    What it has written, to be closed; None for nothing. Raises BuildFailed, SandboxError.
    """
    item = parse_trigger(f"RUN {' '.join(argv)}", "pyproject.toml")
    if warning := permit(room.store, item):
        report.line(warning)
    mounts = [
        (RunMount("secret", id=name, target=f"/run/secrets/{name}"), None, None)
        for name, _ in room.options.secrets
    ]
    action = RunAction(tuple(argv), room.env, "", "/", scripts=(script,))
    options = room.options
    job = RunJob(
        action, item, tuple(layers), platform, options.network, tuple(mounts), room.proxies, None,
        options.hosts, options.secrets, options.shm_size, options.limits, options.ulimits,
    )  # fmt: skip
    _, layer = run_job(room.store, job, (f"{room.scratch}/{random_name()}", room.caches), report)
    return Layers(room.store, [layer[1]], "what was built") if layer else None
