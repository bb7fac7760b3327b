"""What the container runs, and as whom: by the settings, `[project.scripts]`, or the name of a file."""

from __future__ import annotations

from ....words.value import Value
from .layout import UID, VENV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ....grammars.python.project import ProjectSettings
    from ....images.dockerfile.fold import StageState
    from .plan import ProjectPlan

_FILES = ("__main__.py", "main.py", "app.py")


class StartCommand(Value):
    """ENTRYPOINT and CMD; None for what the base has. `why` nothing better was found, "" otherwise."""

    entrypoint: tuple[str, ...] | None
    cmd: tuple[str, ...] | None
    why: str = ""


def started(plan: ProjectPlan, names: Sequence[str], scripts: Sequence[str]) -> StartCommand:
    """What to run; `names` are the files at the top of the project, `scripts` those of its package."""
    settings = plan.settings
    if settings.entrypoint is not None or settings.cmd is not None:
        return StartCommand(settings.entrypoint or (), settings.cmd or ())
    if name := _script(scripts, plan.project.name):
        return StartCommand((f"{VENV}/bin/{name}",), ())
    file = next((name for name in _FILES if name in names), "")
    if file and not plan.project.system and not settings.files:
        return StartCommand((f"{VENV}/bin/python", f"{settings.workdir.rstrip('/')}/{file}"), ())
    why = f"it has the scripts {', '.join(scripts)}" if scripts else "it has no script and no main.py"
    return StartCommand(
        None, None, f"the project does not say what to run: {why}; set entrypoint in [tool.nacre]"
    )


def _script(names: Sequence[str], project: str) -> str:
    """The only script, or the one that is called as the project is."""
    same = [name for name in names if name.replace("_", "-").lower() == project]
    found = names if len(names) == 1 else same
    return found[0] if found else ""


def configured(
    state: StageState, settings: ProjectSettings, start: StartCommand, account: bool
) -> StageState:
    """The configuration of the image."""
    path = f"{VENV}/bin:{state.env.get('PATH', '')}"
    env = {**_pairs(state), "PATH": path, "VIRTUAL_ENV": VENV, **dict(settings.env)}
    fields: dict[str, Any] = {
        "Env": [f"{name}={value}" for name, value in env.items()],
        "WorkingDir": settings.workdir,
    }
    user = settings.user or (f"{UID}:{UID}" if account else "")
    if user:
        fields["User"] = user
    if start.entrypoint is not None:
        fields |= {"Entrypoint": list(start.entrypoint), "Cmd": list(start.cmd or ())}
    if settings.labels:
        fields["Labels"] = {**(state.run.get("Labels") or {}), **dict(settings.labels)}
    if settings.expose:
        ports: dict[str, Any] = {port if "/" in port else f"{port}/tcp": {} for port in settings.expose}
        fields["ExposedPorts"] = {**(state.run.get("ExposedPorts") or {}), **ports}
    return state.changed(**fields)


def _pairs(state: StageState) -> dict[str, str]:
    return dict(str(item).partition("=")[::2] for item in state.run.get("Env") or ())
