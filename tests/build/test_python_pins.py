"""Pins that are checked come to what a resolver finds, and what `packaging` said is not asked again."""

from __future__ import annotations

import marshal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nacre.grammars.python.files import IndexFile, Pinned
from nacre.grammars.python.project import BuildSystem, Project, ProjectSettings
from nacre.grammars.python.target import Target
from nacre.services.build.projects import PackageIndexes
from nacre.services.build.python.answers import KeptAnswers
from nacre.services.build.python.index import PackageIndex
from nacre.services.build.python.localfiles import LocalFiles
from nacre.services.build.python.logins import IndexLogins
from nacre.services.build.python.pins import exact, name_of, pinned
from nacre.services.build.python.readprojects import ReadProjects
from nacre.services.build.python.requirements import Requirements
from nacre.services.build.python.resolve import resolve
from nacre.words.errors import NacreError, UsageError

TARGET = Target("3.11.2", "x86_64", "glibc", (2, 36))


class Shelf:
    """Packages by "NAME VERSION" with what they need; each is one wheel unless `files` says more."""

    def __init__(self, folder: Path, packages: Mapping[str, Sequence[str]], **files: list[IndexFile]) -> None:
        self.folder, self._packages = folder, packages
        self.answers = KeptAnswers(str(folder / "tables"), TARGET)
        self._files: dict[str, list[IndexFile]] = {}
        for one in packages:
            name, version = one.split()
            file = IndexFile(
                f"{name}-{version}-py3-none-any.whl", f"https://x/{name}-{version}", requires_python=">=3.8"
            )
            self._files.setdefault(name, []).append(file)
        self._files |= files

    @property
    def index(self) -> PackageIndex:
        made = PackageIndex(
            (),
            IndexLogins((), PackageIndexes()),
            None,
            str(self.folder),
            LocalFiles(str(self.folder)),  # type: ignore[arg-type]
        )
        for name, files in self._files.items():
            made.assume(name, files)
        return made

    def metadata(self, one: Pinned) -> bytes:
        needs = "".join(f"Requires-Dist: {text}\n" for text in self._packages[f"{one.name} {one.version}"])
        return f"Metadata-Version: 2.1\nName: {one.name}\n{needs}\ntext".encode()

    def pinned(self, *texts: str, **more: Any) -> list[Pinned] | None:
        return pinned(Requirements(texts, **more), self.index, self.metadata, self.answers)

    def resolved(self, *texts: str, **more: Any) -> list[Pinned]:
        return resolve(Requirements(texts, **more), TARGET, self.index, self.metadata)

    def both(self, *texts: str, **more: Any) -> dict[str, str] | None:
        """What the pins come to, compared with the resolver."""
        found = self.pinned(*texts, **more)
        if found is None:
            return None
        assert found == self.resolved(*texts, **more)
        return {one.name: one.version for one in found}


PACKAGES = {
    "app 1.0": ["lib>=1", 'win; sys_platform == "win32"', 'more; extra == "all"'], "app 1.1": ["lib<2,>=1.1"],
    "lib 1.0": [], "lib 1.1": [], "lib 2.0": [], "more 1.0": ["app"], "odd 1.0": ["lib @ https://x/y.whl"],
    "bad 1.0": ["no such thing!"], "late 1.0": ["lib>=1.0rc1"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["app==1.0", "lib==1.0"], {"app": "1.0", "lib": "1.0"}),
        (["app==1.1", "lib==1.1"], {"app": "1.1", "lib": "1.1"}),
        (["app==1.1", "lib==2.0"], None),  # what the package wants is another
        (["app==1.0"], None),  # what it needs has no pin
        (["app[all]==1.0", "lib==1.0", "more==1.0"], {"app": "1.0", "lib": "1.0", "more": "1.0"}),
        (["app[all]==1.0", "lib==1.0"], None),
        (["lib==1.0", 'app==1.0; python_version < "3"'], {"lib": "1.0"}),
        (['lib==1.0; python_version > "3"'], {"lib": "1.0"}),
        (["lib==1.0", "lib==1.1"], None),
        (["lib==1.0", "lib==1.0"], {"lib": "1.0"}),
        (["lib==1.0.0"], None),  # its file says 1.0
        (["lib>=1"], None),
        (["lib==1.*"], None),
        (["odd==1.0", "lib==1.0"], None),
        (["bad==1.0"], None),
        (["late==1.0", "lib==1.0"], {"late": "1.0", "lib": "1.0"}),
        (["no such thing!"], None),
    ],
)
def test_pins_come_to_what_a_resolver_finds(
    texts: list[str], found: dict[str, str] | None, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path, PACKAGES)
    assert shelf.both(*texts) == found
    shelf.answers.save()
    assert Shelf(tmp_path, PACKAGES).both(*texts) == found  # by what was kept


def test_what_takes_more_than_a_check_is_left_to_the_resolver(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, PACKAGES)
    assert shelf.both("lib==1.0") is not None
    assert shelf.both("lib==1.0", constraints=("lib<2",)) is None
    assert shelf.both("lib==1.0", folders=(("own", "own"),)) is None
    assert shelf.both("lib==1.0", require_hashes=True) is None


def test_pins_that_contradict_each_other_are_an_error_with_their_names(tmp_path: Path) -> None:
    packages = {**PACKAGES, "app 2.0": ["lib==1.0"]}
    with pytest.raises(UsageError, match=r"no versions satisfy app==1\.0"):
        Shelf(tmp_path, packages).resolved("app[all]==1.0", "app==1.1")


FILES = {
    "another hash": [IndexFile("lib-1.0-py3-none-any.whl", "u", (("sha256", "b"),))],
    "for another Python": [IndexFile("lib-1.0-py3-none-any.whl", "u", (), "<3")],
    "for another machine": [IndexFile("lib-1.0-cp311-cp311-win32.whl", "u")],
    "yanked": [IndexFile("lib-1.0-py3-none-any.whl", "u", yanked=True)],
    "a source": [IndexFile("lib-1.0.tar.gz", "u")],
    "written in another way": [
        IndexFile("lib-1.0.0-py3-none-any.whl", "u"), IndexFile("lib-1.0-py3-none-any.whl", "v"),
    ],
    "a local version": [
        IndexFile("lib-1.0+x-py3-none-any.whl", "u"), IndexFile("lib-1.0-py3-none-any.whl", "v"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_not_plain_are_left_to_the_resolver(kind: str, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, PACKAGES, lib=FILES[kind])
    assert shelf.both("lib==1.0", hashes=(("lib", (("sha256", "a"),)),) if "hash" in kind else ()) is None


def test_the_best_file_of_a_version_is_taken(tmp_path: Path) -> None:
    names = (
        "lib-1.0-py3-none-any.whl", "lib-1.0-cp311-abi3-manylinux2014_x86_64.whl", "lib-1.0.tar.gz",
        "lib-1.0-cp311-cp311-manylinux_2_28_x86_64.manylinux_2_17_x86_64.whl", "lib-2.0rc1-py3-none-any.whl",
        "lib-1.0-1-cp311-cp311-manylinux_2_28_x86_64.manylinux_2_17_x86_64.whl",
        "lib-1.0-cp312-cp312-win32.whl",
    )  # fmt: skip
    shelf = Shelf(tmp_path, PACKAGES, lib=[IndexFile(name, f"https://x/{name}") for name in names])
    found = shelf.pinned("lib==1.0")
    assert found == shelf.resolved("lib==1.0")
    assert found
    assert found[0].file
    assert found[0].file.name == names[3]


def test_a_hash_chooses_the_file(tmp_path: Path) -> None:
    files = [
        IndexFile(f"lib-1.0-{tag}.whl", tag, (("sha256", tag),))
        for tag in ("py3-none-any", "cp311-none-any", "cp311-cp311-manylinux2014_x86_64")
    ]
    shelf = Shelf(tmp_path, PACKAGES, lib=files)
    hashes = (("lib", (("sha256", "py3-none-any"), ("sha256", "cp311-none-any"))),)
    found = shelf.pinned("lib==1.0", hashes=hashes, require_hashes=True)
    assert found == shelf.resolved("lib==1.0", hashes=hashes, require_hashes=True)
    assert found
    assert found[0].file == files[1]


NAMES = st.sampled_from(("a", "b", "c"))
TEXTS = st.builds(
    lambda name, rest, marker: f"{name}{rest}{marker}", NAMES,
    st.sampled_from(("", ">=1", "<2", "==1.0", "==1.*", "!=1.0", "[x]", "[x]>=1", "~=1.0", ">=1.0rc1")),
    st.sampled_from(("", '; extra == "x"', '; python_version >= "3.8"', '; os_name == "nt"')),
)  # fmt: skip
NEEDS = st.lists(TEXTS, max_size=3)
PINS = st.builds(
    lambda name, extra, version, marker: f"{name}{extra}=={version}{marker}", NAMES,
    st.sampled_from(("", "", "[x]")), st.sampled_from(("1.0", "1.1", "2.0", "3")),
    st.sampled_from(("", "", '; os_name == "posix"', '; os_name == "nt"')),
)  # fmt: skip


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {f"{name} {version}": NEEDS for name in "abc" for version in ("1.0", "1.1", "2.0")}
    ),
    st.lists(PINS, min_size=1, max_size=5),
)
def test_pins_never_come_to_anything_else(tmp_path: Path, packages: Any, texts: list[str]) -> None:
    shelf = Shelf(tmp_path, packages)
    try:
        found = shelf.resolved(*texts)
    except NacreError:
        assert shelf.pinned(*texts) is None
    else:
        assert shelf.pinned(*texts) in (None, found)


def test_versions_that_requirements_allow_alone(tmp_path: Path) -> None:
    texts = [
        "a==1.0", "B_b[x]==2", 'c==3; os_name == "nt"', "d>=1", "e==1.*", "f==1.0,!=2", "g===1",
        "h==1.0RC1", "!",
    ]  # fmt: skip
    answers = KeptAnswers(str(tmp_path), TARGET)
    assert list(exact(texts, answers)) == [("a", "1.0"), ("b-b", "2"), ("h", "1.0rc1")]
    assert [name_of(text) for text in ("A_b>=1", "x [y]", "z", "(")] == ["a-b", "x", "z", "("]


def test_what_was_said_is_not_asked_again(tmp_path: Path) -> None:
    """Nor is the library loaded for it."""
    shelf = Shelf(tmp_path, PACKAGES)
    assert shelf.both("app==1.0", "lib==1.0") == {"app": "1.0", "lib": "1.0"}
    assert shelf.answers.allowed(">=3.8", "3.11.2") is True
    assert shelf.answers.allowed("nonsense", "3.11.2") is None
    shelf.answers.save()
    script = f"""
import sys
from nacre.grammars.python.target import Target
from nacre.services.build.python.answers import KeptAnswers
answers = KeptAnswers({str(tmp_path / "tables")!r}, Target("3.11.2", "x86_64", "glibc", (2, 36)))
print(answers.wishes("lib>=1"), answers.allowed(">=1", "1.0"), answers.allowed(">=3.8", "3.11.2"),
      answers.allowed("nonsense", "3.11.2"), len(answers.ranks()) > 100, answers.runs(">=3.8"))
print(*(name for name in sys.modules if name.startswith("packaging.")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[('lib', (), '>=1')] True True None True True\n\n"


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"\0"), lambda path: path.unlink()])
def test_answers_that_are_gone_are_asked_for_again(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    answers = KeptAnswers(str(tmp_path), TARGET)
    assert answers.runs("<3") is False
    answers.save()
    (path,) = tmp_path.glob("answers-*")
    spoil(path)
    again = KeptAnswers(str(tmp_path), TARGET)
    assert again.runs("<3") is False
    assert KeptAnswers(str(tmp_path), TARGET.replace(version="2.7.18")).runs("<3") is True


def test_a_project_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"""
[project]
name = "app"
version = "1"
dependencies = ["lib>=1"]
optional-dependencies = { more = ["lib"] }
scripts = { run = "app:main" }
[build-system]
requires = ["tool"]
build-backend = "tool"
[tool.nacre]
env = { A = "1" }
compile = false
entrypoint = ["x"]
"""
    read = ReadProjects(str(tmp_path))
    found, plain = read.of(text, "pyproject.toml"), read.of(b"", "pyproject.toml")
    with pytest.raises(UsageError, match=r"b/pyproject\.toml is not TOML"):
        read.of(b"[", "b/pyproject.toml")
    read.save()
    monkeypatch.setattr("nacre.services.build.python.readprojects.read_project", None)
    again = ReadProjects(str(tmp_path))
    assert again.of(text, "pyproject.toml") == found != plain
    assert again.of(b"", "pyproject.toml") == plain == Project(dynamic=True)
    assert isinstance(found.settings, ProjectSettings)
    assert found.system == BuildSystem(("tool",), "tool")
    (path,) = tmp_path.iterdir()
    marshal.loads(path.read_bytes())
    path.write_bytes(b"")
    with pytest.raises(TypeError):  # it has to be read again
        ReadProjects(str(tmp_path)).of(text, "pyproject.toml")
