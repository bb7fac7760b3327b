"""Secrets that were given as build arguments, and that the history of the image shows."""

from __future__ import annotations

from ....images.dockerfile.advice import advise
from ....images.dockerfile.fold import RunAction
from ....images.dockerfile.lint import is_sensitive
from ....images.dockerfile.secrets import is_real, secrets_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ....grammars.dockerfile.checks import Advice
    from ....grammars.dockerfile.instructions import Instruction
    from ..session import BuildSession
    from ..stageprogress import StageProgress


def of_history(session: BuildSession, end: StageProgress) -> Iterator[Advice]:
    """What of the arguments given can be read in the history of the result."""
    secret = {
        name: kind for name, value in session.options.arguments if (kind := _kind(name, value))
    }  # fmt: skip
    values = dict(session.options.arguments)
    told: set[str] = set()
    for step, _ in end.steps:
        for name in [name for name in secret if name not in told and values[name] in step.created_by]:
            told.add(name)
            if not session.checks.shown([advise(step.instruction, "SecretsUsedInArgOrEnv", "")]):
                continue  # somebody has thought about it
            text = f"build argument {name} ({secret[name]}) can be read in the history of the image"
            yield advise(
                step.instruction, "SecretInHistory", text, instead=_instead(end, step.instruction, name)
            )


def _kind(name: str, value: str) -> str:
    found = secrets_in(value)
    if found:
        return found[0]
    return "a secret, by its name" if is_sensitive(name) and is_real(value) else ""


def _instead(end: StageProgress, item: Instruction, name: str) -> str:
    """The first RUN after the declaration that names it, with the secret mounted."""
    at = next(at for at, (step, _) in enumerate(end.steps) if step.instruction is item)
    runs = [step.instruction for step, _ in end.steps[at:] if isinstance(step.action, RunAction)]
    run = next((run for run in runs if name in run.code), None)
    words = " ".join(run.code.split()).partition(" ")[2] if run else "…"
    return f"RUN --mount=type=secret,id={name},env={name} {words}"
