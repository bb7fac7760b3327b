"""Images of Python projects without a Dockerfile, from a loopback index to the files of the image."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from machine import needs_userns
from wheelmaker import Index, serving, wheel

SITE = "opt/venv/lib/python{}.{}/site-packages".format(*sys.version_info[:2])
HERE = "{}.{}.{}".format(*sys.version_info[:3])
PROJECT = """
[project]
name = "app"
version = "1.0"
dependencies = [{needs}]
{more}
"""


@pytest.fixture
def index() -> Iterator[Index]:
    with serving(Index()) as found:
        found.add(
            wheel("demo", "1.0", requires=["helper>=1"]), wheel("demo", "0.9"),
            wheel("helper", "1.0"), wheel("helper", "2.0rc1"),
            wheel("extra_one", "1.0"), wheel("grouped", "1.0"),
        )  # fmt: skip
        yield found


class Site:
    """A project folder, an index, and bases that hold just what is looked at of a Python."""

    def __init__(self, project: Any, index: Index) -> None:
        self.project, self.index, self.nacre = project, index, project.nacre
        self.nacre.env |= {
            "PIP_INDEX_URL": index.url,
            "PIP_CONFIG_FILE": "/dev/null",
            "HOME": str(self.nacre.folder),
        }
        for name in [name for name in self.nacre.env if name.startswith(("PIP_FIND", "PIP_EXTRA", "UV_"))]:
            del self.nacre.env[name]

    def base(self, version: str = HERE, platform: str = "linux/amd64", libc: str = "2.36") -> str:
        """An image that is never run."""
        short = version.rpartition(".")[0]
        folder = self.nacre.folder / f"base-{short}-{platform.replace('/', '-')}"
        (folder / "usr/bin").mkdir(parents=True)
        (folder / "lib64").mkdir()
        (folder / f"usr/bin/python{short}").write_bytes(b"\x7fELF\0" + version.encode() + b"\0")
        (folder / "usr/bin/python3").symlink_to(f"python{short}")
        (folder / "lib64/libc.so.6").write_bytes(
            b"GNU C Library stable release version %b.\n" % libc.encode()
        )
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY usr /usr\nCOPY lib64 /lib64\n")
        name = f"base:{short}-{platform.rpartition('/')[2]}"
        self.nacre("build", "-q", "-t", name, "--platform", platform, str(folder))
        return name

    def pyproject(self, *needs: str, more: str = "") -> None:
        self.project.write("pyproject.toml", PROJECT.format(needs=json.dumps(needs)[1:-1], more=more))

    def build(self, *words: str, tag: str = "app", **options: Any) -> Any:
        return self.project.build("", *words, tag=tag, **options)

    def fails(self, *words: str) -> str:
        """The sentence that a build ends with."""
        result = self.build(*words, check=False)
        assert result.code == 1, result
        (line,) = [line for line in result.err.splitlines() if line.startswith("nacre: ")]
        return str(line.removeprefix("nacre: "))

    def packages(self, tag: str = "app") -> list[str]:
        """What is installed, by the folders of metadata."""
        names = self.files(tag)
        return sorted(
            {
                part.removesuffix(".dist-info")
                for name in names
                for part in name.split("/")
                if part.endswith(".dist-info")
            }
        )

    def files(self, tag: str = "app") -> list[str]:
        import io
        import tarfile

        self.nacre(
            "build",
            "-q",
            "-t",
            "export",
            "-o",
            "type=tar,dest=out.tar",
            "-f",
            "-",
            ".",
            input=f"FROM {tag}\n",
        )
        with tarfile.open(fileobj=io.BytesIO((self.nacre.folder / "out.tar").read_bytes())) as archive:
            return archive.getnames()

    def config(self, tag: str = "app") -> dict[str, Any]:
        (found,) = json.loads(self.nacre("image", "inspect", tag).out)
        return dict(found)


@pytest.fixture
def site(project: Any, index: Index) -> Site:
    needs_userns()
    return Site(project, index)


def test_an_application_becomes_an_image(site: Site) -> None:
    site.pyproject("demo", more="[tool.nacre]\nenv = {MODE = 'live'}\nexpose = [80]\nlabels = {a = 'b'}")
    site.project.write("main.py", "import demo\n")
    site.project.write(".env", "SECRET=1")
    site.project.write("pkg/__pycache__/x.pyc", "old")
    base = site.base()
    site.build("--base", base)
    names = site.files()
    assert site.packages() == ["demo-1.0", "helper-1.0"]
    assert f"{SITE}/__pycache__/demo.{sys.implementation.cache_tag}.pyc" in names
    assert [name for name in names if name.startswith("app/")] == [
        "app/main.py",
        "app/pkg",
        "app/pyproject.toml",
    ]
    config = site.config()
    assert config["Config"]["Entrypoint"] == ["/opt/venv/bin/python", "/app/main.py"]
    assert (config["Config"]["User"], config["Config"]["WorkingDir"]) == ("10001:10001", "/app")
    assert config["Config"]["Env"][0].startswith("PATH=/opt/venv/bin:")
    assert "MODE=live" in config["Config"]["Env"]
    assert config["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert config["Config"]["Labels"] == {"a": "b"}
    # again: nothing is asked of anybody
    site.index.asked.clear()
    again = site.build("--base", base)
    assert "nothing changed" in again.err
    assert site.index.asked == []
    assert site.config()["Id"] == config["Id"]


def test_the_same_wheel_is_the_same_layer_in_every_image(site: Site) -> None:
    big = wheel("big", files={"big.bin": bytes(range(256)) * 8000, "big.py": "x = 1\n"})
    site.index.add(big)
    site.project.write("requirements.txt", "big\n")
    site.build("--base", site.base())
    site.project.write("requirements.txt", "big\ndemo\n")
    site.build("--base", site.base(HERE, "linux/arm64"), "--platform", "linux/arm64", tag="arm")
    one, other = ({*site.config(tag)["RootFS"]["Layers"]} for tag in ("app", "arm"))
    assert len(one & other) >= 1


def test_a_version_that_moved_is_built_as_without_a_cache(site: Site) -> None:
    base = site.base()
    for version in ("1.0", "1.1"):
        files = {"two/same.py": "def f(): pass\n", "two/version.py": f"V = {version!r}\n"}
        site.index.add(wheel("two", version, files))
        site.project.write("requirements.txt", f"two=={version}\n")
        site.build("--base", base)
    moved = site.config()["Id"]
    assert f"{SITE}/two/__pycache__/same.{sys.implementation.cache_tag}.pyc" in site.files()
    site.build("--base", base, "--no-cache")
    assert site.config()["Id"] == moved


def test_wheels_are_chosen_by_the_platform_that_is_wanted(site: Site) -> None:
    short = "cp{}{}".format(*sys.version_info[:2])
    for machine in ("x86_64", "aarch64"):
        for glibc in (17, 40):
            name = f"{short}-{short}-manylinux_2_{glibc}_{machine}"
            site.index.add(wheel("native", "1.0", {f"{machine}_{glibc}.py": ""}, tag=name))
    site.pyproject('native; platform_machine == "aarch64"')
    site.build("--base", site.base(HERE, "linux/arm64"), "--platform", "linux/arm64")
    assert f"{SITE}/aarch64_17.py" in site.files()
    said = site.fails("--base", "host:python3", "--platform", "linux/arm64")
    assert "linux/arm64" in said


def test_extras_and_groups_are_installed_when_they_are_asked_for(site: Site) -> None:
    site.pyproject(
        "demo<1",
        more='[project.optional-dependencies]\nmore = ["extra-one"]\n[dependency-groups]\nside = ["grouped"]',
    )
    base = site.base()
    site.build("--base", base)
    assert site.packages() == ["demo-0.9"]
    site.build("--base", base, "--extra", "more", "--group", "side")
    assert site.packages() == ["demo-0.9", "extra_one-1.0", "grouped-1.0"]
    assert site.fails("--base", base, "--extra", "mor") == "pyproject.toml has no extra 'mor'"


def test_what_was_chosen_stays_until_it_is_wanted_anew(site: Site) -> None:
    site.pyproject("helper")
    base = site.base()
    site.build("--base", base)
    site.index.add(wheel("helper", "1.5"))
    site.build("--base", base)
    assert site.packages() == ["helper-1.0"]
    site.build("--base", base, "--no-cache")
    assert site.packages() == ["helper-1.5"]


def test_only_what_has_moved_is_asked_for(site: Site) -> None:
    site.index.add(wheel("moved", "1.0"), wheel("moved", "1.1"))
    base = site.base()
    for version in ("1.0", "1.1"):
        site.index.asked.clear()
        site.project.write("requirements.txt", f"demo==1.0\nhelper==1.0\nmoved=={version}\n")
        built = site.build("--base", base)
    assert {path.split("-")[0] for path in site.index.asked} == {"/simple/moved/", "/files/moved"}
    assert site.packages() == ["demo-1.0", "helper-1.0", "moved-1.1"]
    assert "looking at demo 1.0" in built.err
    site.index.asked.clear()
    site.build("--base", base, "--no-cache")
    assert "/simple/demo/" in site.index.asked


def test_pins_that_need_more_are_looked_at_once(site: Site) -> None:
    """What a pinned package needs has no pin, so it takes a resolver after all."""
    site.project.write("requirements.txt", "demo[extra]==1.0\n")
    base = site.base()
    built = site.build("--base", base)
    assert built.err.count("looking at demo 1.0") == 1


@pytest.mark.parametrize("html", [False, True])
def test_a_private_index_knows_the_user(project: Any, html: bool) -> None:
    needs_userns()
    with serving(Index(html=html, login=("me", "s3 cret"))) as index:
        index.add(wheel("demo"))
        site = Site(project, index)
        site.pyproject("demo")
        base = site.base()
        assert "denied" in site.fails("--base", base)
        project.write("../.netrc", 'machine 127.0.0.1 login me password "s3 cret"\n', 0o600)
        site.build("--base", base)
        assert site.packages() == ["demo-1.0"]
        (project.folder / "../.netrc").unlink()
        site.nacre.env["PIP_INDEX_URL"] = index.url.replace("http://", "http://me:s3%20cret@")
        site.build("--base", base, "--no-cache")
        printed = site.nacre("build", "--print-dockerfile", "--base", base, str(project.folder)).out
        assert "cret@" not in printed
        assert "s3" not in printed
        assert "--mount=type=secret,id=netrc" in printed
        assert "s3" not in json.dumps(site.config())


def test_a_secret_says_who_the_user_is_at_an_index(project: Any) -> None:
    needs_userns()
    with serving(Index(login=("me", "s3 cret"))) as index:
        index.add(wheel("demo"))
        site = Site(project, index)
        site.pyproject("demo")
        base, hidden = site.base(), str(project.folder / "../hidden")
        project.write("../hidden", 'machine 127.0.0.1 login me password "s3 cret"\n')
        site.build("--base", base, "--secret", f"id=netrc,src={hidden}")
        project.write("../hidden", f"[global]\nindex-url = {index.url.replace('//', '//me:s3%20cret@')}\n")
        site.build("--base", base, "--no-cache", "--secret", f"id=pip.conf,src={hidden}")
        assert site.packages() == ["demo-1.0"]


def test_wheels_come_out_of_a_cache_that_travels(site: Site) -> None:
    site.pyproject("demo")
    site.project.write("main.py")
    base = site.base()
    site.index.metadata = True
    first = site.build("--base", base, "--cache-to", "type=local,dest=kept")
    assert "exporting cache to" in first.err
    digest = site.config()["Id"]
    site.nacre("builder", "prune", "-af")
    site.nacre("rmi", "-f", "app")
    site.index.asked.clear()
    again = site.build("--base", base, "--cache-from", "type=local,src=kept")
    assert "importing layers from the cache" in again.err
    assert site.config()["Id"] == digest
    assert [path for path in site.index.asked if path.endswith(".whl")] == []
    assert "both builds are the same" in site.build("--base", base, "--verify").out


def test_another_file_than_the_one_that_was_named_is_refused(site: Site) -> None:
    name, _ = wheel("demo")
    site.project.write("requirements.txt", f"demo==1.0 --hash=sha256:{'0' * 64}\n")
    base = site.base()
    assert site.fails("--base", base).startswith("no versions satisfy demo==1.0")
    site.index.lies[name] = "0" * 64
    assert "has digest sha256:" in site.fails("--base", base)
    assert "app" not in site.nacre("images").out


def test_uv_lock_says_what_is_installed(site: Site) -> None:
    name, _ = wheel("demo", "0.9")
    site.pyproject("demo")
    rows = f"""
version = 1
[[package]]
name = "app"
version = "1.0"
source = {{ virtual = "." }}
dependencies = [{{ name = "demo" }}]
[package.metadata]
requires-dist = [{{ name = "demo" }}]
[[package]]
name = "demo"
version = "0.9"
source = {{ registry = "{site.index.url}" }}
wheels = [{{ url = "{site.index.url}/../files/{name}", hash = "sha256:{site.index.sha256(name)}", size = 1 }}]
"""
    site.project.write("uv.lock", rows)
    base = site.base()
    assert "longer than the 1 bytes" in site.fails("--base", base)
    site.project.write("uv.lock", rows.replace(", size = 1", ""))
    site.build("--base", base)
    assert site.packages() == ["demo-0.9"]
    assert site.index.asked[-1].endswith(name)
    site.pyproject("demo", "helper")
    assert (
        site.fails("--base", base) == "uv.lock is older than pyproject.toml: helper is not as it was locked"
    )


def test_the_dockerfile_that_does_the_same_is_printed(site: Site) -> None:
    site.pyproject("demo")
    site.project.write("main.py")
    words = "--print-dockerfile", "--base", site.base(), str(site.project.folder)
    lines = site.nacre("build", *words).out.splitlines()
    (demo,) = [name for name in site.index.files if name.startswith("demo-1")]
    assert f"demo==1.0 --hash=sha256:{site.index.sha256(demo)}" in lines
    assert any("--require-hashes" in line and f"--index-url {site.index.url}" in line for line in lines)
    assert lines[-1] == 'ENTRYPOINT ["/opt/venv/bin/python", "/app/main.py"]'
    assert "USER 10001:10001" in lines


def test_what_a_project_has_no_use_for_is_said_or_refused(site: Site) -> None:
    site.pyproject()
    base = site.base()
    assert "has no stages" in site.fails("--base", base, "--target", "x")
    assert "there is no Dockerfile to outline" in site.fails("--call", "outline")
    said = site.build("--base", base, "--no-cache-filter", "x").err
    assert "WARNING: --no-cache-filter has no effect" in said
    assert "WARNING: the project does not say what to run" in said
    site.project.write("Dockerfile", "FROM scratch\nCOPY . /\n")
    assert "--base is for Python projects without a Dockerfile" in site.fails("--base", base)


FAULTS = (
    ("[tool.nacre]\nbas = 'x'", "pyproject.toml: [tool.nacre] has no setting 'bas'"),
    ("[tool.nacre]\nbase = 1", "pyproject.toml: base of [tool.nacre] must be a text"),
    ("[project", "pyproject.toml is not TOML"),
    (
        "[project]\nname = 'a'\nrequires-python = '>=3.99'",
        "the project needs Python >=3.99, but the base has",
    ),
    (
        "[project]\nname = 'a'\ndependencies = ['no such thing!']",
        "pyproject.toml is not as the specification",
    ),
    ("[project]\nname = 'a'\ndependencies = ['nothing']", "there is no package 'nothing' in"),
    ("[project]\nname = 'a'\ndependencies = ['demo>5']", "no versions satisfy demo>5 for Python"),
    ("[project]\nname = 'a'\ndependencies = 'demo'", "pyproject.toml is not as the specification says:"),
    ("[project]\nname = 'a'\n[tool.nacre]\nfiles = ['none']", "files of [tool.nacre]: 'none' not found"),
)


def test_a_fault_is_one_sentence(site: Site) -> None:
    base = site.base()
    for text, said in FAULTS:
        site.project.write("pyproject.toml", text)
        assert site.fails("--base", base).startswith(said), text
    site.project.write("pyproject.toml", "")
    for text in ("./none", "-e none", "./none-1.0-py3-none-any.whl"):
        site.project.write("requirements.txt", text)
        assert site.fails("--base", base).startswith("requirements.txt names none"), text


def test_why_no_version_will_do_is_said(site: Site) -> None:
    base = site.base()
    site.index.add(wheel("native", tag="cp36-cp36m-win_amd64"))
    for text, hint in (
        ("demo==5", "there is 1.0, 0.9"),
        ("native", "its files are for other platforms or Pythons: native-1.0-cp36-cp36m-win_amd64.whl"),
        (f"demo --hash=sha256:{'0' * 64}", "the index has none of the hashes that were asked for"),
    ):
        site.project.write("requirements.txt", f"{text}\n")
        said = site.build("--base", base, check=False).err
        assert f"hint: {hint}\n" in said, text


BACKEND = """
import zipfile, tomllib, pathlib
def build_wheel(folder, config_settings=None, metadata_directory=None):
    about = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
    name, info = about["name"], f"{about['name']}-1.0.dist-info"
    files = {str(path): path.read_text() for path in sorted(pathlib.Path(name).rglob("*")) if path.is_file()}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n"
    needs = pathlib.Path("needs.txt")
    if needs.exists():
        files[f"{info}/METADATA"] += f"Requires-Dist: {needs.read_text()}\\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    rows = [f"{key} = {value}" for key, value in about.get("scripts", {}).items()]
    files[f"{info}/entry_points.txt"] = "\\n".join(["[console_scripts]", *rows, ""])
    import base64, hashlib
    def sha(text):
        return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    record = "".join(f"{key},sha256={sha(text)},{len(text)}\\n" for key, text in files.items())
    with zipfile.ZipFile(f"{folder}/{name}-1.0-py3-none-any.whl", "w") as out:
        for key, text in (files | {f"{info}/RECORD": record + f"{info}/RECORD,,\\n"}).items():
            out.writestr(zipfile.ZipInfo(key, (2020, 1, 1, 0, 0, 0)), text)
    print("built by the base", name)
    return f"{name}-1.0-py3-none-any.whl"
"""
SYSTEM = '[build-system]\nrequires = ["tool"]\nbuild-backend = "tool"\n'


def test_what_only_a_build_tells_of_a_project_counts(site: Site) -> None:
    """Requirements that the backend reads elsewhere, resolved again when they change."""
    site.index.add(wheel("tool", files={"tool.py": BACKEND}))
    site.project.write("pyproject.toml", f'{SYSTEM}[project]\nname = "app"\ndynamic = ["dependencies"]\n')
    site.project.write("app/__init__.py", "")
    for needs in ("demo", "extra-one"):
        site.project.write("needs.txt", needs)
        site.build()
        assert needs.replace("-", "_") in " ".join(site.packages()), needs
        assert "app-1.0" in site.packages()


def test_a_workspace_is_built_in_the_base_and_runs(site: Site) -> None:
    """A backend from the index, a member, a data file, a script: all by the Python of this machine."""
    site.index.add(wheel("tool", files={"tool.py": BACKEND}))
    site.pyproject(
        "demo", "member", more='[project.scripts]\napp = "app:main"\n' + SYSTEM
        + '[tool.uv.sources]\nmember = { workspace = true }\n[tool.uv.workspace]\nmembers = ["packages/*"]',
    )  # fmt: skip
    site.project.write(
        "app/__init__.py",
        "import os, demo, member\nDATA = os.path.dirname(__file__) + '/data.txt'\n"
        "def main(): print(demo.VERSION, member.NAME, os.getuid(), open(DATA).read())\n",
    )
    site.project.write("app/data.txt", "data")
    site.project.write("packages/member/member/__init__.py", "NAME = 'member'\n")
    site.project.write(
        "packages/member/pyproject.toml", '[project]\nname = "member"\nversion = "1.0"\n' + SYSTEM
    )
    built = site.build()
    assert "built by the base app" in built.err
    assert site.nacre("run", "--rm", "--network", "none", "app").out == "1.0 member 10001 data\n"
    assert "nothing changed" in site.build().err
    site.project.write("app/data.txt", "moved")
    changed = site.build()
    assert "built by the base app" in changed.err
    assert "built by the base member" not in changed.err
    assert site.nacre("run", "--rm", "--network", "none", "app").out == "1.0 member 10001 moved\n"
