"""The drivers: one form, in which a new layer is kept, and one root, by which layers are shown.

    overlay   folder               mounted
    erofs     indexed              mounted
    plain     indexed or folder    laid out

A root shows layers of any form, so what a store holds already is used whatever made it.
"""

from __future__ import annotations

import os

from ...ground.userns import rights
from ...words.errors import StoreError, Unsupported, UsageError
from ..database import Database, boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...ground.work.budget import Budget
    from .interfaces import TreeForm, TreeRoot
    from .model import Mode
    from .roots.mounted import Mounted

NAMES = ("erofs", "overlay", "plain")
"""All that there are, in the order in which `auto` tries them."""
UNPACKING = ("overlay",)
"""Those whose trees are always unpacked: a form that `keeps_files`."""


class Driver:
    """`name` is what rows and users call it; `trial` as in `trials`."""

    __slots__ = ("form", "name", "root", "trial")

    def __init__(self, name: str, form: TreeForm, root: TreeRoot, trial: Callable[[str], str]) -> None:
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

    def knows(self, name: str) -> bool:
        """Whether there is a driver of this name; a row may have one of a newer nacre."""
        return name in NAMES

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


class DriverChoice:
    """The driver by which a store makes trees and shows roots: the one asked for, or the first that works."""

    def __init__(self, root: str, database: Database, drivers: Drivers, wanted: str) -> None:
        """`wanted` is a name or "auto". Raises UsageError for an unknown one."""
        if wanted not in ("auto", *NAMES):
            known = ", ".join(("auto", *NAMES))
            raise UsageError(f"unknown storage driver {wanted!r}", hint=f"use one of: {known}")
        self._root, self._database, self._drivers = root, database, drivers
        self._wanted = wanted
        self._candidates = NAMES if wanted == "auto" else (wanted,)
        self._chosen: Driver | None = None

    @property
    def driver(self) -> Driver:
        """The first candidate that works here; the last one without a trial."""
        if self._chosen is None:
            *others, last = self._candidates  # one after the other: a form that is not used is not imported
            working = (name for name in others if not self._fault(self._drivers.get(name)))
            self._chosen = self._drivers.get(next(working, last))
        return self._chosen

    @property
    def name(self) -> str:
        """The name of the driver in use."""
        return self.driver.name

    @property
    def mounts_roots(self) -> bool:
        """Whether a root is mounted. Where it is laid out, a program in it may find no mount permitted."""
        return self.driver.root.is_mounted

    @property
    def why(self) -> str:
        """One sentence: why this driver, or why it will not work here. Tried once per boot."""
        how = "asked for" if self._wanted != "auto" else "chosen"
        before = self._candidates[: self._candidates.index(self.name)]
        refused = "".join(f"; {self._fault(self._drivers.get(name))}" for name in before)
        try:
            return f"{how}; {self._probe(self.driver)}{refused}"
        except Unsupported as error:
            return f"{how}, but {error.message}{refused}"

    def _fault(self, driver: Driver) -> str:
        """Why a driver does not work here; "" if it does."""
        try:
            self._probe(driver)
        except (Unsupported, StoreError) as error:  # a full disk, for one, is no reason to stop
            return error.message
        return ""

    def _probe(self, driver: Driver) -> str:
        """The answer of the driver's trial, remembered for this boot and what it depends on."""
        key = f"probe:{driver.name}:{_circumstances(self._drivers.mode, self._root)}"
        row = self._database.one("SELECT value FROM meta WHERE key = ?", (key,))
        boot, _, answer = row[0].partition(" ") if row else ("", "", "")
        if boot != boot_id():
            answer = self._try(driver)
            values = (key, f"{boot_id()} {answer}")
            self._database.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)
        if answer.startswith("!"):
            raise Unsupported(answer[1:])
        return answer

    def _try(self, driver: Driver) -> str:
        from ...ground.files import random_name
        from .making import Making

        with Making(self._root, random_name()) as making:
            try:
                return driver.trial(making.folder)
            except Unsupported as error:
                return "!" + error.message


def _circumstances(mode: Mode, root: str) -> str:
    """What may change an answer within one boot: the marks in use, who asks with which rights, the disk."""
    return f"{mode.userxattr}:{os.geteuid()}:{rights()}:{os.stat(root).st_dev:x}"
