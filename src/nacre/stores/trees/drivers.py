"""The drivers: one form, in which a new layer is kept, and one root, by which layers are shown.

    overlay   folder               mounted
    erofs     indexed              mounted
    plain     indexed or folder    laid out

A root shows layers of any form, so what a store holds already is used whatever made it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...ground.work.budget import Budget
    from .model import Form, Mode, Root
    from .roots.mounted import Mounted

NAMES = ("erofs", "overlay", "plain")
"""All that there are, in the order in which `auto` tries them."""


class Driver:
    """`name` is what rows and users call it; `trial` as in `trials`."""

    __slots__ = ("form", "name", "root", "trial")

    def __init__(self, name: str, form: Form, root: Root, trial: Callable[[str], str]) -> None:
        self.name, self.form, self.root, self.trial = name, form, root, trial


class Drivers:
    """The drivers of one store, each made when it is first asked for."""

    def __init__(
        self, root: str, mode: Mode, budget: Callable[[], Budget],
        peers: Callable[[], Sequence[str]] = tuple, trusted: Callable[[], set[str]] = set,
    ) -> None:  # fmt: skip
        """`budget` is for unpacking. `peers` gives folders of trees whose files a new one may share, the ones
        used last first; `trusted` the names of the folders in ROOT/trees that new layers may point into.
        """
        self._root, self._peers, self._trusted = root, peers, trusted
        self.mode, self._budget = mode, budget
        self._made: dict[str, Driver] = {}

    def get(self, name: str) -> Driver:
        """The driver of this name. Raises KeyError."""
        if name not in self._made:
            make = {"overlay": self._overlay, "erofs": self._erofs, "plain": self._plain}[name]
            self._made.setdefault(name, make())
        return self._made[name]

    def of_folder(self, folder: str) -> Driver | None:
        """The driver that reads a tree of which no row speaks; None where there is none."""
        drivers = map(self.get, NAMES)
        return next((driver for driver in drivers if driver.form.holds(folder)), None)

    def _overlay(self) -> Driver:
        from .forms.folder import FolderForm

        def trial(scratch: str) -> str:
            from .trials import mounts_folders

            return mounts_folders(self.mode, scratch)

        return Driver("overlay", FolderForm(self.mode, self._budget, self._peers), self._mounted(), trial)

    def _erofs(self) -> Driver:
        from .forms.indexed import IndexedForm

        form = IndexedForm(self._root, self._trusted)

        def trial(scratch: str) -> str:
            from .trials import mounts_indexes

            return mounts_indexes(self.mode, form, scratch)

        return Driver("erofs", form, self._mounted(), trial)

    def _plain(self) -> Driver:
        from .forms.either import EitherForm
        from .forms.folder import FolderForm
        from .forms.indexed import IndexedForm
        from .roots.laidout import LaidOut

        def trial(scratch: str) -> str:
            from .trials import lays_out

            return lays_out(scratch)

        folder = FolderForm(self.mode, self._budget, self._peers, marked=True)
        form = EitherForm(folder, IndexedForm(self._root, self._trusted))
        return Driver("plain", form, LaidOut(self.mode, self._mounted()), trial)

    def _mounted(self) -> Mounted:
        from .roots.mounted import Mounted

        return Mounted(self.mode, f"{self._root}/trees/.empty")
