"""What a Dockerfile could do better, as its text and the files beside it tell. Pure."""

from __future__ import annotations

from ...grammars.dockerfile import instructions as dockerfile
from ...grammars.dockerfile.checks import Advice
from .installs import late_installs
from .secrets import masked, secrets_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ...grammars.dockerfile.instructions import Dockerfile, Instruction
    from .plan import StagePlan

    Read = Callable[[str], bytes | None]
    """A file of the context, None if there is none (or none that can be read)."""


BY_MOUNT = "RUN --mount=type=secret,id=NAME,env=NAME …"


def advise(item: Instruction, rule: str, text: str, size: int = 0, instead: str = "") -> Advice:
    """Advice about an instruction."""
    return Advice(text, rule, item.line.line, item.line.end_line, item.line.comments, size, masked(instead))


def of_text(
    file: Dockerfile, stages: Sequence[StagePlan], read: Read, sizes: Mapping[int, int] | None = None
) -> Iterator[Advice]:
    """All that needs no build; `sizes` are the bytes that instructions have written, by their lines."""
    for arg in file.global_args:
        yield from _secrets(arg)
    for planned in stages:
        for item in planned.stage.instructions:
            yield from _secrets(item)
        for late in late_installs(planned.stage, read):
            line = late.run.line.line
            text = (
                f"each change of a file repeats the RUN of line {line}, which needs only {_list(late.files)}"
            )
            size = (sizes or {}).get(line, 0)
            yield advise(late.copy, "CopyBeforeInstall", text, size, late.instead)


def _list(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _secrets(item: Instruction) -> Iterator[Advice]:
    bodies = []
    if isinstance(item, dockerfile.RunInstruction):
        bodies = [one.text for one in item.command.heredocs]
    elif isinstance(item, dockerfile.CopyInstruction):
        bodies = [one.text for one in item.contents]
    for kind in secrets_in("\n".join([item.code, *bodies])):
        text = f"{item.name} holds {kind}, which the image then shows as well"
        yield advise(item, "SecretInDockerfile", text, instead=BY_MOUNT)
