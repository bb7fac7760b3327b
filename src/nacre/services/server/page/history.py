"""What made each layer of an image, as its config says it. Pure and forgiving: anybody writes these."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ....words.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ....words.oci import Descriptor, ImageConfig

MOST = 500
"""Steps and layers that are shown of one image."""
_LONGEST = 4000
_NOP, _SHELL, _BUILDERS = "/bin/sh -c #(nop)", "/bin/sh -c", ("# buildkit", "# nacre")
_WIDTH = 1000


class HistoryStep(NamedTuple):
    """One instruction: `verb` as in a Dockerfile where one is known; `layer` counts from 0, -1 for none."""

    verb: str
    text: str
    created: str
    layer: int


class LayerBar(Value):
    """A layer in the picture: where its bytes begin in a thousand of the whole, and how wide they are.

    `tags` and `repositories` are others that have it too.
    """

    digest: str
    size: int
    media_type: str
    start: float
    width: float
    step: HistoryStep
    tags: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()

    @property
    def is_shared(self) -> bool:
        """Does anything else need these bytes as well?"""
        return bool(self.tags or self.repositories)


def steps_of(config: ImageConfig | None) -> list[HistoryStep]:
    """The history of an image, oldest first."""
    found, layer = [], 0
    for entry in (config.history if config else ())[:MOST]:
        empty = bool(entry.get("empty_layer"))
        verb, text = instruction(_text(entry.get("created_by")) or _text(entry.get("comment")))
        found.append(HistoryStep(verb, text, _text(entry.get("created"))[:19], -1 if empty else layer))
        layer += not empty
    return found


def instruction(created_by: str) -> tuple[str, str]:
    """Verb and rest of what docker, BuildKit and buildah write: `RUN /bin/sh -c make # buildkit`."""
    text = created_by[:_LONGEST].strip()
    if text.startswith(_NOP):
        text = text.removeprefix(_NOP).strip()
    elif text.startswith(_SHELL):
        text = "RUN " + text.removeprefix(_SHELL).strip()
    elif text.startswith("|") and _SHELL in text:  # |1 NAME=value /bin/sh -c …
        text = "RUN " + text.partition(_SHELL)[2].strip()
    for builder in _BUILDERS:
        text = text.removesuffix(builder).strip()
    verb, _, rest = text.partition(" ")
    if verb.isascii() and verb.isalpha() and verb.isupper():
        return verb, _unwrapped(rest.strip())
    return "", text


def _unwrapped(text: str) -> str:
    """A command without the shell that runs it, a line for each that follows on the one before."""
    text = text.removeprefix(_SHELL).strip()
    return text.replace(" && ", "\n  && ").replace("\t", " ")


def bars(layers: Sequence[Descriptor], steps: Iterable[HistoryStep]) -> list[LayerBar]:
    """The picture of an image: its layers lowest first, each where the one before it ends."""
    by_layer = {step.layer: step for step in steps if step.layer >= 0}
    whole, before = sum(layer.size for layer in layers) or 1, 0
    found = []
    for number, layer in enumerate(layers[:MOST]):
        step = by_layer.get(number, HistoryStep("", "", "", number))
        start, width = before * _WIDTH / whole, layer.size * _WIDTH / whole
        bar = LayerBar(
            str(layer.digest), layer.size, layer.media_type, round(start, 2), round(width, 2), step
        )
        found.append(bar)
        before += layer.size
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
