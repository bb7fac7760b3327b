"""Where the files of a step come from: a stage, an image, or a context."""

from __future__ import annotations

from ...grammars.dockerfile.tokens import did_you_mean
from ...words.errors import NacreError, NotFound, RegistryError
from .fault import at_fault
from .missing import MissingFiles, are_known
from .waiting import Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.dockerfile.instructions import Instruction
    from ...images.dockerfile.plan import Base, StagePlan
    from ...words.digest import Digest
    from ...words.oci import Platform
    from .context import ContextFiles
    from .items import CopySource
    from .report import StepReport
    from .session import BuildSession

_MARKS = frozenset("/:@")
"""What the name of an image may have and that of a stage may not."""


class StageOrigins:
    """What names of images, stages and contexts mean in one stage."""

    def __init__(self, session: BuildSession, planned: StagePlan) -> None:
        self._session, self._planned = session, planned

    def meant(self, item: Instruction, text: str) -> Base:
        """What `--from=text` means in this stage."""
        return self._session.plan.source(item, text, self._planned.index)

    def named(self, item: Instruction, base: Base) -> ContextFiles:
        """The files of a named context. Raises Waiting."""
        return self._session.contexts.named(self._session, base.context, at_fault(item, base.name))

    def origin(
        self, item: Instruction, text: str, platform: Platform | None, report: StepReport
    ) -> tuple[tuple[Digest, ...], str]:
        """The layers that `--from=text` means, and how to call them. Raises Waiting, NacreError."""
        session, base = self._session, self.meant(item, text)
        if base.stage is not None:
            return session.stage(base.stage).diff_ids, f"stage {text}"
        if base.is_scratch:
            return (), text

        def neither(error: NacreError) -> NacreError:
            if not isinstance(error, NotFound | RegistryError):
                return error
            return self.neither(item, f"--from={text}", base.name, error)

        try:
            return session.image(base.name, platform, item, report).diff_ids, f"image {base.name}"
        except Waiting as waiting:
            waiting.blame = neither
            raise
        except (NotFound, RegistryError) as error:
            raise neither(error) from None

    def neither(self, item: Instruction, said: str, name: str, error: NacreError) -> NacreError:
        """A name that is no stage means an image, as in docker; a mistyped stage must not read as that."""
        if not _MARKS.isdisjoint(name):
            return self.absent(item, name, error)
        before = [planned.stage.name for planned in self._session.plan.stages[: self._planned.index]]
        hint = did_you_mean(name, [stage for stage in before if stage], prefix="the stage ")
        message = f"{said}: {name!r} is neither an earlier stage nor an available image: {error.message}"
        return item.error(message, hint=hint or error.hint)

    def absent(
        self, item: Instruction, name: str, error: NacreError, platform: Platform | None = None
    ) -> NacreError:
        """An image that cannot be had is a fault of the line that names it.

        An image that is here for another platform than the wanted one is named.
        """
        message = error.message if name in error.message else f"{name}: {error.message}"
        hint = error.hint
        if platform and (here := self._session.sources.find(name, None)):
            hint = f"the store has {name} for {here.config.platform}, not for {platform}"
        return item.error(message, getattr(item, "base", ""), hint=hint)

    def source(
        self, item: Instruction, text: str, platform: Platform | None, report: StepReport
    ) -> CopySource:
        """The files that `--from=text` means, "" for the context. Raises as `origin`, and MissingFiles."""
        base = self.meant(item, text) if text else None
        if base is None or base.context:
            return self.named(item, base) if base else self._session.context
        from .layers import Layers

        origin = self.origin(item, text, platform, report)
        is_away = not self._session.builds_steps and self._session.cache.imports.lacking(origin[0])
        if is_away or not are_known(origin[0]):
            raise MissingFiles(f"cached if {origin[1]} has the files of the last time")
        self._session.bring(origin[0], report)
        return self._session.opened(Layers(self._session.store, *origin))
