"""The files of Python projects, and which wheels fit which Python."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.python.files import IndexFile, best_of, rank_of, version_of
from nacre.grammars.python.indexpage import parse_page
from nacre.grammars.python.installed import require
from nacre.grammars.python.locks import Locked, LockSelection, read_lock
from nacre.grammars.python.pipconfig import bare, config_files, indexes_of, user_in, user_of_variables
from nacre.grammars.python.project import Project, read_project
from nacre.grammars.python.requirementsfile import RequirementLine, read_requirements
from nacre.grammars.python.target import Target
from nacre.words.errors import InvalidDocument, NacreError, Unsupported, UsageError

GLIBC = Target("3.12.4", "x86_64", "glibc", (2, 36))
MUSL = Target("3.12.4", "x86_64", "musl", (1, 2))
ARM = Target("3.12.4", "aarch64", "glibc", (2, 36))


def wheel(tag: str) -> IndexFile:
    return IndexFile(f"demo-1.0-{tag}.whl", f"https://host/demo-1.0-{tag}.whl", (("sha256", "aa"),))


@pytest.mark.parametrize(
    ("target", "best"),
    [
        (GLIBC, "cp312-cp312-manylinux_2_28_x86_64"),
        (MUSL, "cp312-cp312-musllinux_1_2_x86_64"),
        (ARM, "cp38-abi3-manylinux2014_aarch64"),
        (GLIBC.replace(libc_version=(2, 20)), "cp312-cp312-manylinux2014_x86_64"),
        (GLIBC.replace(version="3.13.0"), "py3-none-any"),
        (GLIBC.replace(machine="s390x"), "py3-none-any"),
    ],
)
def test_the_best_wheel_is_chosen(target: Target, best: str) -> None:
    tags = (
        "py3-none-any", "cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-manylinux2014_x86_64",
        "cp312-cp312-musllinux_1_2_x86_64", "cp38-abi3-manylinux2014_aarch64", "cp312-cp312-win_amd64",
        "cp311-cp311-manylinux2014_s390x", "cp312-cp312-manylinux_2_39_x86_64",
    )  # fmt: skip
    found = best_of([wheel(tag) for tag in tags], target.ranks())
    assert found == wheel(best)


@given(st.text("htps:/.a@#?é \t;", max_size=20).map(lambda text: f"http://a/{text}") | st.text(max_size=8))
def test_a_url_that_needs_no_parser_is_as_one_would_leave_it(url: str) -> None:
    with suppress(ValueError):
        parts = urlsplit(url)
        assert bare(url) == parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def test_a_source_archive_fits_worst_and_other_files_not_at_all() -> None:
    source = IndexFile("demo-1.0.tar.gz", "")
    assert best_of([source, wheel("py2.py3-none-any")], GLIBC.ranks()) == wheel("py2.py3-none-any")
    assert best_of([source, wheel("cp312-cp312-win32")], GLIBC.ranks()) == source
    assert rank_of(IndexFile("demo.whl", ""), GLIBC.ranks()) is None
    assert version_of(source, "demo") == version_of(wheel("py3-none-any"), "Demo")
    assert version_of(source, "other") is None


def test_markers_are_those_of_the_target() -> None:
    from packaging.markers import Marker

    assert Marker("python_full_version >= '3.12.4' and platform_machine == 'aarch64'").evaluate(
        {**ARM.environment}
    )
    assert not Marker("sys_platform == 'win32' or implementation_name == 'pypy'").evaluate(
        {**ARM.environment}
    )


PAGE = {
    "meta": {"api-version": "1.1"},
    "files": [
        {"filename": "demo-1.0-py3-none-any.whl", "url": "../../f/demo-1.0-py3-none-any.whl",
         "hashes": {"sha256": "AB"}, "requires-python": ">=3.8", "yanked": "bad", "core-metadata": True,
         "size": 7},
        {"filename": "demo-1.0.exe", "url": "demo-1.0.exe", "hashes": {}},
    ],
}  # fmt: skip
HTML = """<html><head><base href="https://h/simple/demo/"></head><body>
<a href="../../f/demo-1.0-py3-none-any.whl#sha256=AB" data-requires-python="&gt;=3.8" data-yanked=""
   data-core-metadata="true">demo</a><a href="demo-1.0.exe">x</a></body></html>"""


@pytest.mark.parametrize(
    ("data", "kind"),
    [(json.dumps(PAGE), "application/vnd.pypi.simple.v1+json; charset=utf-8"), (HTML, "text/html")],
)
def test_a_page_is_read_as_json_and_as_html(data: str, kind: str) -> None:
    (found,) = parse_page(data.encode(), kind, "https://h/simple/demo/")
    assert found == IndexFile(
        "demo-1.0-py3-none-any.whl", "https://h/f/demo-1.0-py3-none-any.whl", (("sha256", "ab"),), ">=3.8",
        True, True, found.size,
    )  # fmt: skip


@pytest.mark.parametrize(
    "data", [b"[]", b"{", b'{"meta":{"api-version":"2.0"},"files":[]}', b'{"files":[1]}']
)
def test_a_page_that_is_none_is_an_error(data: bytes) -> None:
    with pytest.raises(InvalidDocument):
        parse_page(data, "application/json", "https://h/")


REQUIREMENTS = {
    "requirements.txt": "-r more/base.txt\n# a comment\n"
    "flask[async] >= 2 ; python_version > '3' # why\n-c limits.txt\n"
    "demo==1.0 \\\n    --hash=sha256:AA \\\n    --hash sha256:bb\n-e ./lib\n--extra-index-url=https://${TOKEN}@h/\n",
    "more/base.txt": "--index-url https://i/simple\nbase\n-e sub[x]\nname @ https://h/name-1.0.tar.gz\n",
    "limits.txt": "urllib3<2\n",
}


def test_a_requirements_file_is_read_as_pip_does() -> None:
    found = read_requirements("requirements.txt", REQUIREMENTS.__getitem__, {"TOKEN": "t"})
    assert found.wishes == (
        RequirementLine("base"), RequirementLine(folder="more/sub"),
        RequirementLine("name @ https://h/name-1.0.tar.gz"),
        RequirementLine("flask[async] >= 2 ; python_version > '3'"),
        RequirementLine("demo==1.0", hashes=(("sha256", "aa"), ("sha256", "bb"))),
        RequirementLine(folder="lib"),
    )  # fmt: skip
    assert (found.index, found.extra) == ("https://i/simple", ("https://t@h/",))
    assert found.constraints == ("urllib3<2",)
    assert found.require_hashes


def test_a_marker_keeps_its_quotation_marks() -> None:
    (wish,) = read_requirements("r", lambda _: "a; python_version < '3.9' and extra == \"x\"").wishes
    assert wish.text == "a; python_version < '3.9' and extra == \"x\""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--find-links x", "r:1: --find-links is not supported"),
        ("a\n--nonsense", "r:2: unknown option --nonsense"),
        ("git+https://h/x", "r:1: packages from a repository are not supported"),
        ("https://h/x-1.0.tar.gz", "r:1: a URL needs the name of its package"),
        ("a --hash=md5:00", "r:1: invalid hash 'md5:00'"),
        ("-r r", "r: requirements files include each other too deeply"),
        ("-r", "r:1: -r needs a value"),
    ],
)
def test_what_cannot_be_obeyed_has_its_place(text: str, said: str) -> None:
    with pytest.raises((UsageError, Unsupported)) as caught:
        read_requirements("r", lambda _: text)
    assert caught.value.message.startswith(said)


@given(st.text(max_size=60))
def test_no_text_is_more_than_an_error(text: str) -> None:
    with suppress(NacreError):
        read_requirements("r", lambda name: text if name == "r" else "")


UV = """
version = 1
[[package]]
name = "app"
version = "1"
source = { editable = "." }
dependencies = [
    { name = "one", extra = ["fast"] }, { name = "win", marker = "sys_platform == 'win32'" }, { name = "lib" }
]
[package.optional-dependencies]
more = [{ name = "two" }]
[package.dev-dependencies]
dev = [{ name = "three" }]
[package.metadata]
requires-dist = [
    { name = "one", extras = ["fast"], specifier = ">=1" },
    { name = "win", marker = "sys_platform == 'win32'" },
    { name = "lib", editable = "lib" }, { name = "two", marker = "extra == 'more'" }
]
[[package]]
name = "one"
version = "1.0"
source = { registry = "https://i/simple" }
dependencies = [{ name = "four" }]
wheels = [{ url = "https://f/one-1.0-py3-none-any.whl", hash = "sha256:AA", size = 5 }]
[package.optional-dependencies]
fast = [{ name = "five" }]
[[package]]
name = "lib"
version = "0"
source = { editable = "lib" }
"""


def package(name: str) -> str:
    row = f'{{ url = "https://f/{name}-1.0-py3-none-any.whl", hash = "sha256:aa" }}'
    source = 'source = { registry = "https://i/simple" }'
    return f'[[package]]\nname = "{name}"\nversion = "1.0"\n{source}\nwheels = [{row}]\n'


LOCKED = UV + "".join(map(package, ("two", "three", "four", "five", "win")))
PROJECT = Project("app", dependencies=("one[fast]>=1", "win; sys_platform == 'win32'", "lib"))


def names(found: list[Locked]) -> list[str]:
    return [one.name for one in found]


def test_uv_lock_is_walked_from_the_project() -> None:
    found = read_lock("uv.lock", LOCKED.encode(), LockSelection(PROJECT, GLIBC))
    assert names(found) == ["five", "four", "lib", "one"]
    assert found[2] == Locked("lib", "0", folder="lib")
    assert found[3].files == (
        IndexFile(
            "one-1.0-py3-none-any.whl", "https://f/one-1.0-py3-none-any.whl", (("sha256", "aa"),), size=5
        ),
    )
    more = read_lock("uv.lock", LOCKED.encode(), LockSelection(PROJECT, GLIBC, ("more",), ("dev",)))
    assert names(more) == ["five", "four", "lib", "one", "three", "two"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (("sha256:AA", ""), InvalidDocument),
        (('registry = "https://i/simple" }\ndependencies', 'git = "https://g" }\ndependencies'), Unsupported),
        (('name = "one"\nversion', 'name = "two"\nversion'), InvalidDocument),
        (('editable = "."', 'editable = "x"'), UsageError),
        (('specifier = ">=1"', 'specifier = ">=2"'), UsageError),
        (("version = 1", "version = ["), InvalidDocument),
        (("dependencies = [{", "dependencies = [1, {"), InvalidDocument),
    ],
)
def test_a_lock_that_cannot_be_obeyed_is_an_error(change: tuple[str, str], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        read_lock("uv.lock", LOCKED.replace(*change).encode(), LockSelection(PROJECT, GLIBC))


POETRY = """
[[package]]
name = "one"
version = "1.0"
files = [{ file = "one-1.0-py3-none-any.whl", hash = "sha256:aa" }]
[package.dependencies]
two = { version = ">=1", markers = "python_version >= '3'" }
win = { version = "*", markers = "sys_platform == 'win32'" }
four = { version = "*", optional = true, markers = "extra == 'fast'" }
[package.extras]
fast = ["four"]
[[package]]
name = "two"
version = "1.0"
files = [{ file = "two-1.0-py3-none-any.whl", hash = "sha256:aa" }]
[package.source]
type = "legacy"
url = "https://private/simple"
[[package]]
name = "four"
version = "1.0"
files = [{ file = "four-1.0-py3-none-any.whl", hash = "sha256:aa" }]
"""


def test_poetry_lock_is_walked_from_the_project() -> None:
    plain = LockSelection(Project("app", dependencies=("one",)), GLIBC)
    found = read_lock("poetry.lock", POETRY.encode(), plain)
    assert names(found) == ["one", "two"]
    assert found[1].index == "https://private/simple"
    assert found[0].files[0].url == ""
    fast = LockSelection(Project("app", dependencies=("one[fast]",)), GLIBC)
    assert names(read_lock("poetry.lock", POETRY.encode(), fast)) == ["four", "one", "two"]


PYLOCK = """
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "one"
version = "1.0"
[[packages.wheels]]
url = "https://f/one-1.0-py3-none-any.whl"
hashes = { sha256 = "aa" }
[[packages]]
name = "win"
marker = "sys_platform == 'win32'"
version = "1.0"
[[packages.wheels]]
url = "https://f/win-1.0-py3-none-any.whl"
hashes = { sha256 = "aa" }
"""


def test_pylock_is_selected_for_the_target() -> None:
    (found,) = read_lock("pylock.toml", PYLOCK.encode(), LockSelection(Project(), GLIBC))
    assert found.files[0].url == "https://f/one-1.0-py3-none-any.whl"
    with pytest.raises(InvalidDocument):
        read_lock(
            "pylock.toml", PYLOCK.replace("lock-version", "x").encode(), LockSelection(Project(), GLIBC)
        )


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("^1.2", "a>=1.2,<2"), ("^0.2.3", "a>=0.2.3,<0.3"), ("~1.2", "a>=1.2,<1.3"), ("~1", "a>=1,<2"),
        ("*", "a"), ("1.2.*", "a==1.2.*"), (">=1,<2", "a>=1,<2"), ("1.0", "a==1.0"), ("~=1.4", "a~=1.4"),
    ],
)  # fmt: skip
def test_ranges_of_poetry_become_those_of_pep_440(said: str, meant: str) -> None:
    text = f'[tool.poetry]\nname = "app"\n[tool.poetry.dependencies]\npython = "^3.9"\na = "{said}"\n'
    found = read_project(text.encode())
    assert (found.dependencies, found.requires_python) == ((meant,), ">=3.9,<4")


FULL = """
[project]
name = "My_App"
dependencies = ["a>=1"]
dynamic = ["version"]
[project.scripts]
run = "app:main"
[project.optional-dependencies]
fast = ["b"]
[dependency-groups]
dev = ["c", {include-group = "lint"}]
lint = ["d"]
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[tool.uv.sources]
Lib_One = { path = "../lib" }
[[tool.uv.index]]
name = "own"
url = "https://own/simple"
[tool.nacre]
base = "python:3.12-slim"
files = ["static"]
"""


def test_a_project_is_read() -> None:
    found = read_project(FULL.encode())
    assert (found.name, found.dynamic, found.scripts) == ("my-app", False, (("run", "app:main"),))
    assert found.system is not None
    assert found.system.requires == ("hatchling",)
    assert found.folders == (("lib-one", "../lib"),)
    assert found.indexes == (("own", "https://own/simple", False),)
    assert found.wanted(["fast"], ["dev"]) == ["a>=1", "b", "c", "d"]
    assert (found.settings.base, found.settings.files) == ("python:3.12-slim", ("static",))
    with pytest.raises(UsageError, match="has no group 'dve'"):
        found.wanted([], ["dve"])


KEYS = st.sampled_from(["dependencies", "scripts", "name"])
TREES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)


@given(TREES)
def test_whatever_a_project_says_is_no_more_than_an_error(value: Any) -> None:
    text = json.dumps(value).replace("{", "{ ").replace("null", "1").replace('": ', '" = ')
    with suppress(NacreError):
        read_project(f"project = {text}\n".encode())


def test_indexes_come_from_variables_and_from_pip_conf() -> None:
    warned: list[str] = []
    conf = "[global]\nindex-url = https://conf/simple\nextra_index_url = https://one https://two\n"
    conf += "cert = /own.pem\n"
    assert indexes_of({}, [("pip.conf", conf)], warned.append) == [
        "https://one",
        "https://two",
        "https://conf/simple",
    ]
    assert warned == ["WARNING: pip.conf: cert ignored: certificates and proxies are those of config.toml"]
    assert indexes_of({"PIP_INDEX_URL": "https://env"}, [], warned.append) == ["https://env"]
    assert indexes_of({"UV_INDEX": "own=https://u", "UV_DEFAULT_INDEX": "https://d"}, [], warned.append) == [
        "https://u", "https://d",
    ]  # fmt: skip
    assert indexes_of({}, [], warned.append) == []
    assert indexes_of({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/w http://h"}, [], warned.append) == ["/w"]
    assert config_files({"PIP_CONFIG_FILE": "/dev/null"}, "/home/me") == []
    assert config_files({}, "/home/me")[-1] == "/home/me/.config/pip/pip.conf"
    with pytest.raises(UsageError, match=r"pip\.conf cannot be read"):
        indexes_of({}, [("pip.conf", "nonsense")], warned.append)


def test_users_of_indexes() -> None:
    assert user_in("https://me:a%40b@h/simple") == ("me", "a@b")
    assert bare("https://me:a@h:1/simple") == "https://h:1/simple"
    assert user_of_variables(
        "own-one", {"UV_INDEX_OWN_ONE_USERNAME": "me", "UV_INDEX_OWN_ONE_PASSWORD": "p"}
    ) == ("me", "p")
    assert user_of_variables("", {"UV_INDEX__USERNAME": "me"}) is None


def test_libraries_that_are_absent_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require()
    found = "nacre.grammars.python.installed.find_spec"
    monkeypatch.setattr(found, lambda name: None if name == "installer" else object())
    with pytest.raises(Unsupported) as caught:
        require()
    assert caught.value.message == "to build a Python project without a Dockerfile, install installer"
    assert caught.value.hint == "pip install 'nacre-oci[python]'"
