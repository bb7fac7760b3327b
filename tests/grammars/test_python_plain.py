"""What is read without `packaging` is read as `packaging` reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from nacre.grammars.python.names import canonical
from nacre.grammars.python.needs import fields, needs
from nacre.grammars.python.plain import WheelName, is_release, is_version, pin, wheel_name

VERSIONS = st.one_of(
    st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda numbers: ".".join(map(str, numbers))),
    st.text("0123.abcrpostdevv!+-_*", min_size=1, max_size=8),
)
NAMES = st.text("abzAZ09._-", min_size=1, max_size=6)
TAGS = st.sampled_from(
    ("py3-none-any", "py2.py3-none-any", "cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64",
     "PY3-none-any", "3-none-any", "py3.-none-any", "py3-none", "py3-none-any-more")
)  # fmt: skip


@given(NAMES, st.sampled_from(("==", "===", ">=", " == ", "==v", "~=")), VERSIONS)
def test_a_pin_is_what_the_library_reads(name: str, operator: str, version: str) -> None:
    text = f"{name}{operator}{version}"
    found = pin(text)
    if found is None:
        return
    requirement = Requirement(text)
    assert found == (canonicalize_name(requirement.name), str(Version(found[1])))
    assert str(requirement.specifier) == f"=={found[1]}"
    assert (requirement.marker, requirement.extras, requirement.url) == (None, set(), None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Foo.Bar==1.20", ("foo-bar", "1.20")),
        ("a == 0", ("a", "0")),
        ("a==1.0.*", None),
        ("a==01", None),
        ("a[x]==1", None),
        ("a==1;x", None),
        ("a==1.0rc1", None),
        ("a", None),
        ("-a==1", None),
        ("ä==1", None),
        ("a==١", None),
    ],
)
def test_only_plain_pins_are_read(text: str, found: tuple[str, str] | None) -> None:
    assert pin(text) == found


@given(NAMES, VERSIONS, st.sampled_from(("", "-1", "-1b", "-b")), TAGS, st.sampled_from((".whl", ".WHL", "")))
def test_a_wheel_is_called_what_the_library_reads(
    name: str, version: str, build: str, tag: str, end: str
) -> None:
    file = f"{name}-{version}{build}-{tag}{end}"
    found = wheel_name(file)
    if found is None:
        return
    package, release, _, tags = parse_wheel_filename(file)
    assert (found.name, found.version) == (package, str(release))
    assert {*found.tags} == {*map(str, tags)}


def test_most_wheels_are_read() -> None:
    assert wheel_name("Foo_Bar-1.20-py2.py3-none-any.whl") == WheelName(
        "foo-bar", "1.20", ("py2-none-any", "py3-none-any")
    )
    assert wheel_name("a-1-2-cp311-abi3-x.whl") == WheelName("a", "1", ("cp311-abi3-x",))
    many = ".".join(f"py{n}" for n in range(2000))
    assert wheel_name(f"a-1-{many}-none-any.whl") is None


@given(VERSIONS, st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_a_version_is_a_release_where_the_library_says_so(text: str, numbers: list[int]) -> None:
    version = ".".join(map(str, numbers))
    said = is_release(text, version)
    try:
        found = Version(text)
    except InvalidVersion:
        assert said is not True
        return
    if said is not None:
        assert said == SpecifierSet(f"=={version}").contains(found, prereleases=True)


@pytest.mark.parametrize(
    ("text", "same"),
    [("1.0", True), ("1", True), ("1.0.0.0", True), ("01.0", True), ("1.1", False), ("1.0rc1", False),
     ("1.0.post1", False), ("1.0.dev0", False), ("1.0+cpu", None), ("0!1.0", None), ("v1.0", None),
     ("1.0_1", None)],
)  # fmt: skip
def test_other_ways_to_write_a_release_are_known_or_left_to_the_library(text: str, same: bool | None) -> None:
    assert is_release(text, "1.0") is same


@given(VERSIONS)
def test_a_plain_version_is_written_as_the_library_writes_it(text: str) -> None:
    if is_version(text):
        assert str(Version(text)) == text


def test_the_library_refuses_what_was_left_to_it() -> None:
    """The cases above do tell the two apart."""
    with pytest.raises(InvalidRequirement):
        Requirement("-a==1")
    with pytest.raises(InvalidWheelFilename):
        parse_wheel_filename("a-1-b-py3-none-any.whl")


@given(st.text("aB-_.9é", max_size=9))
def test_a_name_is_spelled_as_the_library_spells_it(name: str) -> None:
    assert canonical(name) == canonicalize_name(name)


def test_fields_of_metadata_end_with_the_first_empty_line() -> None:
    data = (
        b"\nName: Demo\r\nRequires-Dist: a\n  >=1 ;\n\tb\nrequires-dist:c\nname: other\n\nRequires-Dist: d\n"
    )
    assert list(fields(data)) == [
        ("name", "Demo"), ("requires-dist", "a >=1 ; b"), ("requires-dist", "c"), ("name", "other"),
    ]  # fmt: skip
    assert needs(data) == ("Demo", ["a >=1 ; b", "c"])
    assert needs(b"")[0] == "a package"
