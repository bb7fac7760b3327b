"""From a plan to wheels that are known by their hash: locked or resolved, fetched or built when needed."""

from __future__ import annotations

import json
import os
from functools import cache, cached_property
from threading import Event

from ....grammars.python.files import IndexFile, Pinned
from ....grammars.python.names import canonical
from ....ground.work.threads import paced
from ....stores import caches
from ....stores.steps import StepRecord
from ....words.errors import UsageError
from ....words.value import Value
from ..keys import Key
from .answers import KeptAnswers
from .index import is_remote
from .pins import exact, pinned
from .requirements import Requirements
from .wheellayers import LaidWheel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ....grammars.python.locks import Locked
    from ....grammars.python.target import Target
    from ....stores.store import Store
    from ..report import StepReport
    from .index import PackageIndex
    from .pack import BuiltWheel, WheelBuilder
    from .plan import ProjectPlan


_MOST_PINS = 1000


class ResolvedKey(Key):
    """What was chosen for the files of a project, a target and indexes."""

    inputs_read: str
    target: tuple[object, ...]
    indexes: tuple[str, ...]
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    requirements: tuple[str, ...] = ()


class PinsKey(Key):
    """Files of exact versions, as these indexes had them."""

    target: tuple[object, ...]
    indexes: tuple[str, ...]


class WheelSources(Value):
    """Where wheels come from: the store remembers, the index has them, what `packer` gives makes them."""

    store: Store
    index: PackageIndex
    packer: Callable[[], WheelBuilder]


class WheelSupply:
    """The wheels of one target. `anew`: nothing that was chosen before is taken."""

    def __init__(self, sources: WheelSources, plan: ProjectPlan, target: Target, anew: bool = False) -> None:
        self._sources, self._plan, self._target, self._anew = sources, plan, target, anew
        self._built: dict[str, BuiltWheel] = {}
        self._pinned: dict[str, Pinned] = {}

    @property
    def short(self) -> str:
        """The version of Python that they are for, as 3.12."""
        return self._target.short

    @cached_property
    def _answers(self) -> KeptAnswers:
        return KeptAnswers(caches.tables(self._sources.store.root), self._target)

    @cached_property
    def _packer(self) -> WheelBuilder:
        return self._sources.packer()

    # what is to be installed

    def chosen(self, report: StepReport) -> list[Pinned]:
        """The packages, by name; those chosen before for the same files, unless they are wanted anew."""
        plan = self._plan
        self._check_python()
        key = ResolvedKey(
            "", "", None, plan.inputs, self._target._astuple(), self._sources.index.urls,
            plan.settings.extras, plan.settings.groups,
            tuple(self.built(folder, report).sha256 for folder in self._unknown),
        )  # fmt: skip
        found = self._kept(key)
        if found is not None:
            report.cached()
            return found
        found = self._locked() if plan.lock else self._resolved(self._with_own(plan.wishes, report), report)
        self._keep(key, found)
        report.line(
            f"{len(found)} package{'s' * (len(found) != 1)}" + (f" locked by {plan.lock}" * bool(plan.lock))
        )
        report.done()
        return found

    def _check_python(self) -> None:
        wanted = self._plan.project.requires_python
        if not wanted:
            return
        fits = self._answers.allowed(wanted, self._target.version)
        self._answers.save()
        if fits is None:
            raise UsageError(f"pyproject.toml has an invalid requires-python: {wanted[:100]!r}")
        if not fits:
            raise UsageError(
                f"the project needs Python {wanted}, but the base has {self._target.version}",
                hint=f"choose another base with --base, python:{self._hinted(wanted)}-slim for one",
            )

    def _hinted(self, wanted: str) -> str:
        from packaging.specifiers import SpecifierSet

        versions = [f"3.{minor}" for minor in range(14, 7, -1)]
        return next((one for one in versions if SpecifierSet(wanted).contains(f"{one}.99")), "3")

    def _kept(self, key: Key) -> list[Pinned] | None:
        record = None if self._anew else self._sources.store.steps.get(key.digest)
        if record is None:
            return None
        rows = json.loads(record.config_json)["packages"]
        return [
            Pinned(row["name"], row["version"], _file_of(row["file"]) if row["file"] else None, row["folder"])
            for row in rows
        ]  # fmt: skip

    def _keep(self, key: Key, found: Sequence[Pinned]) -> None:
        rows = [
            {"name": one.name, "version": one.version, "folder": one.folder,
             "file": _row_of(one.file) if one.file else None}
            for one in found
        ]  # fmt: skip
        self._sources.store.steps.put(
            StepRecord(key.digest, "", None, None, json.dumps({"packages": rows}), key.inputs)
        )

    def _locked(self) -> list[Pinned]:
        from ....grammars.python.locks import LockSelection, read_lock

        plan = self._plan
        wanted = LockSelection(plan.project, self._target, plan.settings.extras, plan.settings.groups)
        return [self._of_lock(one) for one in read_lock(plan.lock, plan.lock_data, wanted)]

    def _of_lock(self, one: Locked) -> Pinned:
        if one.folder:
            return Pinned(one.name, one.version, folder=os.path.normpath(one.folder))
        from .resolve import pinned_of_lock

        return pinned_of_lock(one.name, one.version, self._placed(one), self._target)

    def _placed(self, one: Locked) -> Sequence[IndexFile]:
        """The files of a package; where a lock says no URLs, those that its index has with the same hash."""
        if all(file.url for file in one.files):
            return one.files
        wanted = {file.name: file for file in one.files}
        offered = self._sources.index.files(one.name, one.index)
        return [
            file.replace(hashes=wanted[file.name].hashes) for file in offered if file.name in wanted
        ]  # fmt: skip

    @property
    def _unknown(self) -> list[str]:
        """Folders of wanted packages of which only a build tells what they need or are called."""
        if self._plan.lock:
            return []
        project = self._plan.project
        return [*self._plan.unnamed, *(["."] if project.system and project.dynamic else [])]

    def _with_own(self, wishes: Requirements, report: StepReport) -> Requirements:
        """With packages of the context of which only a build tells what they need or are called."""
        extras = self._plan.settings.extras
        named = [(self._name_of(folder, report), folder) for folder in self._unknown]
        texts = [
            f"{name}[{','.join(extras)}]" if extras and folder == "." else name for name, folder in named
        ]
        return wishes.replace(requirements=(*wishes.requirements, *texts), folders=(*wishes.folders, *named))

    def _name_of(self, folder: str, report: StepReport) -> str:
        name = self._plan.project_of(folder).name
        return name or canonical(self.built(folder, report).name.partition("-")[0])

    def _resolved(self, wishes: Requirements, report: StepReport) -> list[Pinned]:
        @cache  # pins that take a resolver after all are looked at once
        def metadata(one: Pinned) -> bytes:
            report.line(f"looking at {one.name} {one.folder or one.version}")
            return self._metadata(one, report)

        hashes = dict(wishes.hashes)
        pins, index = self._pins(), self._sources.index
        for name, version in exact(wishes.requirements, self._answers):
            if (file := pins.get(f"{name}=={version}")) and _is_allowed(file, hashes.get(name, ())):
                index.assume(name, [file])
        found = pinned(wishes, index, metadata, self._answers)
        if found is None:
            from .resolve import resolve

            found = resolve(wishes, self._target, index, metadata)
        self._answers.save()
        self._keep_pins(pins, found)
        return [_with_hashes(one, hashes.get(one.name, ())) for one in found]

    @property
    def _pins_key(self) -> PinsKey:
        return PinsKey("", "", None, self._target._astuple(), self._sources.index.urls)

    def _pins(self) -> dict[str, IndexFile]:
        """Files of an index by NAME==VERSION: where a version is exact, nobody need be asked again."""
        record = None if self._anew else self._sources.store.steps.get(self._pins_key.digest)
        rows = json.loads(record.config_json)["files"] if record else {}
        return {pin: _file_of(row) for pin, row in rows.items()}

    def _keep_pins(self, known: Mapping[str, IndexFile], found: Sequence[Pinned]) -> None:
        """Keep those of this build before those known, as many as is reasonable."""
        new = {f"{one.name}=={one.version}": one.file for one in found if one.file and is_remote(one.file)}
        if new.items() <= known.items():
            return
        every = list((new | {pin: file for pin, file in known.items() if pin not in new}).items())
        rows = {pin: _row_of(file) for pin, file in every[:_MOST_PINS]}
        key = self._pins_key
        self._sources.store.steps.put(
            StepRecord(key.digest, "", None, None, json.dumps({"files": rows}), key.inputs)
        )

    def requirements(self, wishes: Sequence[str], report: StepReport) -> list[Pinned]:
        """What some requirements come to, as those of a build backend; kept as `chosen` is."""
        key = ResolvedKey(
            "", "", None, "", self._target._astuple(), self._sources.index.urls, (), (), tuple(wishes)
        )
        found = self._kept(key)
        if found is None:
            found = self._resolved(Requirements(tuple(wishes)), report)
            self._keep(key, found)
        return found

    # metadata

    def _metadata(self, pinned: Pinned, report: StepReport) -> bytes:
        if pinned.folder:
            return self._of_folder(pinned.folder, report)
        assert pinned.file is not None
        index = self._sources.index
        file = index.identified(pinned.file)
        sha256 = dict(file.strong).get("sha256", "")
        data = index.kept_metadata(sha256) if sha256 else None
        if data is not None:
            return data
        data, is_fixed = self._read_metadata(pinned.replace(file=file), report)
        return index.keep_metadata(sha256, data) if sha256 and is_fixed else data

    def _read_metadata(self, pinned: Pinned, report: StepReport) -> tuple[bytes, bool]:
        """METADATA out of an index or a file, and whether it is the same wherever the file is built."""
        file = pinned.file
        assert file is not None
        data = self._sources.index.metadata(file)
        if data is not None:
            return data, True
        path, sha256 = self._sources.index.fetch(file, report.task(file.name))
        if file.is_wheel:
            from .wheel import opened

            with opened(path, file.name) as wheel:
                return wheel.metadata, True
        from .pack import static_metadata

        if static := static_metadata(path, file.name):
            return static, True
        return self._packer.of_archive(pinned, path, sha256, report).metadata.encode(), False

    def _of_folder(self, folder: str, report: StepReport) -> bytes:
        project = self._plan.project_of(folder)
        if project.dynamic:
            return self.built(folder, report).metadata.encode()
        from .pack import metadata_of

        return metadata_of(project.name, project.dependencies, project.extras)

    # wheels

    def built(self, folder: str, report: StepReport) -> BuiltWheel:
        """The wheel of a folder of the project. Raises UsageError for one that is no package."""
        if folder not in self._built:
            system = self._plan.project_of(folder).system
            if system is None:
                raise UsageError(
                    f"{folder}/pyproject.toml has no [build-system], so no package can be made of it"
                )
            self._built[folder] = self._packer.of_folder(folder, system, report)
        return self._built[folder]

    def known(self, pinned: Pinned, report: StepReport) -> LaidWheel:
        """A wheel by its hash; only what cannot be known without it is fetched or built."""
        if pinned.folder:
            built = self.built(pinned.folder, report)
            return LaidWheel(built.name, built.sha256, built.size, self._sources.index.kept(built.sha256))
        assert pinned.file is not None
        file = self._sources.index.identified(pinned.file)
        pinned = pinned.replace(file=file)
        sha256 = dict(file.strong).get("sha256", "")
        if not file.is_wheel or not sha256 or not file.size:
            return self._brought(pinned, report)
        self._pinned[sha256] = pinned
        return LaidWheel(file.name, sha256, file.size, self._sources.index.kept(sha256))

    def _brought(self, pinned: Pinned, report: StepReport) -> LaidWheel:
        file = pinned.file
        assert file is not None
        path, sha256 = self._sources.index.fetch(file, report.task(file.name))
        if file.is_wheel:
            return LaidWheel(file.name, sha256, os.stat(path).st_size, path)
        built = self._packer.of_archive(pinned, path, sha256, report)
        return LaidWheel(built.name, built.sha256, built.size, self._sources.index.kept(built.sha256))

    def here(self, wheels: Sequence[LaidWheel], report: StepReport) -> dict[str, LaidWheel]:
        """The wheels with their paths, by their hash: those that are missing are fetched, several at once."""
        missing = [wheel for wheel in wheels if not wheel.path]
        found = {wheel.sha256: wheel for wheel in wheels if wheel.path}

        def fetch(wheel: LaidWheel, _stop: Event) -> None:
            file = self._pinned[wheel.sha256].file
            assert file is not None
            path, _ = self._sources.index.fetch(file, report.task(file.name))
            found[wheel.sha256] = wheel.replace(path=path)

        paced(fetch, missing, self._sources.store.budget)
        return found


def _with_hashes(pinned: Pinned, hashes: Sequence[tuple[str, str]]) -> Pinned:
    """With the hash that was asked for, where the index names none: the fetch then verifies it."""
    if not hashes or pinned.file is None or pinned.file.strong:
        return pinned
    if len(hashes) > 1:
        raise UsageError(f"{pinned.file.name} has no hash in its index, so one of several cannot be told")
    return pinned.replace(file=pinned.file.replace(hashes=tuple(hashes)))


def _is_allowed(file: IndexFile, hashes: Sequence[tuple[str, str]]) -> bool:
    return not hashes or any(pair in hashes for pair in file.strong)


def _row_of(file: IndexFile) -> dict[str, Any]:
    return {name: getattr(file, name) for name in IndexFile._fields}


def _file_of(row: dict[str, Any]) -> IndexFile:
    hashes = tuple((str(name), str(value)) for name, value in row["hashes"])
    return IndexFile(**(row | {"hashes": hashes}))
