"""What a build says could be smaller or safer: each piece of advice, and that good Dockerfiles get none."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nacre.cli.advice import read_advice, show_advice
from nacre.grammars.dockerfile.checks import ADVICE, Advice
from nacre.grammars.dockerfile.parse import parse
from nacre.images.dockerfile.installs import late_installs
from nacre.images.dockerfile.packagecaches import CacheFinder, instead
from nacre.images.dockerfile.secrets import masked, reader_of, secrets_in
from nacre.services.build import BuildOptions, Inputs
from nacre.services.build.checks import call
from nacre.words.errors import UsageError

RANDOM = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
TOKEN = f"ghp_{RANDOM}"
KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{RANDOM}{RANDOM}\n{RANDOM}\n"

# secrets


@pytest.mark.parametrize(("text", "kind"), [
    (f"curl -H 'Authorization: Bearer {TOKEN}'", "a GitHub token"),
    (f"github_pat_{RANDOM}_{RANDOM}", "a GitHub token"),
    (f"glpat-{RANDOM[:20]}", "a GitLab token"),
    ("AKIAQ3EGRTUVWXYZ2345", "an AWS access key"),
    (f"npm_{RANDOM}", "an npm token"),
    (f"hf_{RANDOM}", "a Hugging Face token"),
    (f"dckr_pat_{RANDOM}", "a Docker Hub token"),
    (KEY, "a private key"),
    ("git clone https://me:s3cretPhrase@git.corp/x", "a password in a URL"),
])  # fmt: skip
def test_secrets_are_known_by_their_shape(text: str, kind: str) -> None:
    assert secrets_in(text) == [kind]
    hidden = masked(text)
    assert len(hidden) == len(text)
    assert secrets_in(hidden) == []


@pytest.mark.parametrize("text", [
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", f"ghp_{RANDOM[:20]}", "AKIAIOSFODNN7EXAMPLE",
    "curl https://user:$PASSWORD@host/x https://me:{{password}}@host/",
    "grep -- '-----BEGIN PRIVATE KEY-----' x", "FROM a@sha256:" + "ab12" * 16,
    "https://user:password@example.org/", "ssh://git@host:2222/x", "http://host:8080/@x",
])  # fmt: skip
def test_placeholders_are_no_secrets(text: str) -> None:
    assert secrets_in(text) == []


@pytest.mark.parametrize(("path", "text", "kind"), [
    ("root/.ssh/id_rsa", KEY, "a private key"),
    ("app/server.pem", KEY, "a private key"),
    ("app/server.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n", ""),
    (".npmrc", f"//registry/:_authToken={RANDOM}\n", "an npm token"),
    (".npmrc", "//registry/:_authToken=${NPM_TOKEN}\nregistry=https://x/\n", ""),
    (".env", "SECRET_KEY=kj3h4k5j6h7g8f9d0s1a\n", "a secret variable"),
    (".env", "PORT=80\nSECRET_KEY=changeme-changeme\nTOKEN_URL=https://x/y/z/long/enough\n", ""),
    (".git/config", "[http]\n\textraheader = AUTHORIZATION: basic QWxhZGRpbjpvcGVu\n",
     "a token of a checkout"),
    (".docker/config.json", '{"auths": {"x": {"auth": "bWU6c2VjcmV0LXBocmFzZQ"}}}',
     "the password of a registry"),
])  # fmt: skip
def test_files_that_hold_secrets(path: str, text: str, kind: str) -> None:
    read = reader_of(path)
    assert read is not None
    assert read(text) == kind


@pytest.mark.parametrize("path", [
    ".env.example", "tests/id_rsa", "lib/test/fixtures/server.key", "id_rsa.pub", "config", "src/key.py",
    ".envrc",
])  # fmt: skip
def test_files_that_are_not_looked_into(path: str) -> None:
    assert reader_of(path) is None


def test_what_a_command_makes_may_have_keys_of_its_own() -> None:
    assert reader_of("etc/ssl/private/ssl-cert-snakeoil.key", is_given=False) is None
    assert reader_of("root/.npmrc", is_given=False) is not None


# COPY before an install

LATE = [
    ("npm ci", {"package.json": "{}", "package-lock.json": "{}"},
     "COPY package.json package-lock.json ./\nRUN npm ci"),
    ("yarn --frozen-lockfile && yarn build", {"package.json": "{}"},
     "COPY package.json ./\nRUN yarn --frozen-lockfile\nCOPY . .\nRUN …"),
    ("set -ex; pip install --no-cache-dir -r requirements.txt", {"requirements.txt": "flask==3\n# x\n"},
     "COPY requirements.txt ./\nRUN pip install --no-cache-dir -r requirements.txt"),
    ("go mod download", {"go.mod": "module x\n", "go.sum": ""}, "COPY go.mod go.sum ./\nRUN go mod download"),
    ("bundle install", {"Gemfile": "gem 'rails'\n"}, "COPY Gemfile ./\nRUN bundle install"),
    ("uv sync --frozen", {"pyproject.toml": "[project]\n", "uv.lock": ""},
     "COPY pyproject.toml uv.lock ./\nRUN uv sync --no-install-project --frozen\nCOPY . .\nRUN …"),
    ("poetry install --only main", {"pyproject.toml": "[tool.poetry]\n"},
     "COPY pyproject.toml ./\nRUN poetry install --no-root --only main\nCOPY . .\nRUN …"),
]  # fmt: skip


def late(text: str, files: dict[str, str]) -> list[str]:
    def read(name: str) -> bytes | None:
        return files[name].encode() if name in files else None

    return [one.instead for stage in parse(text, "Dockerfile").stages for one in late_installs(stage, read)]


@pytest.mark.parametrize(("command", "files", "lines"), LATE)
def test_an_install_after_everything_is_copied(command: str, files: dict[str, str], lines: str) -> None:
    lines = lines if "COPY . ." in lines else f"{lines}\nCOPY . ."
    text = f"FROM x\nWORKDIR /app\nCOPY . .\nENV A=b\nRUN {command}\n"
    assert late(text, files) == [lines]
    assert late(text, {}) == []
    absolute = f"FROM x\nWORKDIR /app\nCOPY --chown=a:b . /app\nRUN {command}\n"
    wanted = lines.replace("COPY . .", "COPY --chown=a:b . /app").replace(" ./\n", " /app/\n")
    assert late(absolute, files) == [wanted.replace("COPY ", "COPY --chown=a:b ", 1)]


def test_what_needs_no_files_may_come_between() -> None:
    text = "FROM x\nCOPY . .\nRUN apk add git\nRUN set -e; npm install -g corepack && npm ci && npm test\n"
    lines = ["COPY package.json ./", "…", "RUN npm install -g corepack && npm ci", "COPY . .", "RUN …"]
    assert late(text, {"package.json": "{}"}) == ["\n".join(lines)]


NODE = {"package.json": "{}", "package-lock.json": "{}", "requirements.txt": "flask\n"}
GOOD = [
    "COPY package*.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build",
    "COPY package*.json ./\nRUN npm ci\nCOPY . .\nRUN npm ci --omit=dev",
    "COPY . .\nRUN --mount=type=cache,target=/root/.npm npm ci",
    "COPY --from=build . .\nRUN npm ci",
    "COPY src .\nRUN npm ci",
    "COPY . /elsewhere\nRUN npm ci",
    "COPY . .\nRUN cd web && npm ci",
    "COPY . .\nRUN npm install -g serve",
    "COPY . .\nRUN npm install express",
    "COPY . .\nRUN npm run ci",
    "COPY . .\nRUN pip install .",
    "COPY . .\nRUN pip install -e . -r requirements.txt",
    "COPY . .\nRUN pip install -r requirements/dev.txt",
    "COPY . .\nRUN make",
    "COPY . .\nRUN make && npm ci",
    "COPY . .\nRUN ./setup\nRUN npm ci",
    'COPY . .\nRUN python "x.py" && npm ci',
    "COPY . .\nWORKDIR web\nRUN npm ci",
    'COPY . .\nRUN ["npm", "ci"]',
]


@pytest.mark.parametrize("lines", GOOD)
def test_good_orders_get_no_advice(lines: str) -> None:
    assert late(f"FROM x\nWORKDIR /app\n{lines}\n", NODE) == []


@pytest.mark.parametrize(("command", "files"), [
    ("npm ci", {"package.json": '{"workspaces": ["a"]}'}),
    ("npm ci", {"package.json": '{"scripts": {"postinstall": "patch-package"}}'}),
    ("npm ci", {"package.json": '{"dependencies": {"a": "file:../a"}}'}),
    ("yarn", {"package.json": "{}", ".yarnrc.yml": ""}),
    ("pip install -r requirements.txt", {"requirements.txt": "-e .\n"}),
    ("pip install -r requirements.txt", {"requirements.txt": "-r other.txt\n"}),
    ("pip install -r requirements.txt", {"requirements.txt": "./wheels/a.whl\n"}),
    ("pip install -r requirements.txt", {"requirements.txt": "a @ file:///srv/a\n"}),
    ("go mod download", {"go.mod": "replace x => ./x\n"}),
    ("bundle install", {"Gemfile": "gemspec\n"}),
    ("uv sync", {"pyproject.toml": "[tool.uv.workspace]\n", "uv.lock": ""}),
])  # fmt: skip
def test_files_that_need_others_get_no_advice(command: str, files: dict[str, str]) -> None:
    assert late(f"FROM x\nWORKDIR /app\nCOPY . .\nRUN {command}\n", files) == []


def test_hostile_commands_take_no_time() -> None:
    options = " ".join(["--a-b"] * 60)
    for command in (
        f"npm ci {options} !",
        f"pip install {options} x",
        "apk add x; " * 5000,
        "mvn " * 200_000,
    ):
        assert late(f"FROM x\nCOPY . .\nRUN {command}\n", NODE) == []
        assert caches(command, ["root/.m2/repository/x"]) == []
    files = {"requirements.txt": "a" + " " * 900_000 + "/"}
    assert late("FROM x\nCOPY . .\nRUN pip install -r requirements.txt\n", files) == []
    assert secrets_in("sk-" * 20_000 + "T3BlbkFJ") == []


def test_names_of_files_do_nothing_to_a_terminal() -> None:
    one = Advice("the image holds secrets: a\x1b[2Jb", "SecretInFile", 3)
    said: list[str] = []
    show_advice(
        SimpleNamespace(line=said.append), [one], SimpleNamespace(advice=[], file="D", positionals=["."])
    )  # type: ignore[arg-type]
    assert len(said) == 1
    assert "\x1b" not in said[0]


# package caches


def caches(command: str, paths: list[str], *more: str) -> list[tuple[str, int, str]]:
    stage = parse("FROM x\n" + "".join(f"RUN {line}\n" for line in (command, *more)), "Dockerfile").stages[0]
    run, *later = stage.instructions
    finder = CacheFinder(run.code)
    for path in paths:
        finder.add(path.encode(), 10)
    found = finder.found()
    return [(one.cache.tool, one.size, instead(run, [one], later)) for one in found]  # type: ignore[arg-type]


LISTS = ["var/lib/apt/lists/deb_main_Packages", "var/lib/apt/lists/partial/x", "usr/bin/curl"]


@pytest.mark.parametrize(("command", "path", "line"), [
    ("apk add curl", "var/cache/apk/APKINDEX.1.tar.gz", "RUN apk add --no-cache curl"),
    ("apk update && apk add curl", "var/cache/apk/x", "RUN apk add --no-cache curl"),
    ("dnf install -y x", "var/cache/dnf/x/y.rpm", "RUN dnf install -y x && dnf clean all"),
    ("microdnf install x", "var/cache/yum/x", "RUN microdnf install x && microdnf clean all"),
    ("pip install x", "root/.cache/pip/http/a/b", "RUN pip install --no-cache-dir x"),
    ("python3 -m pip install x", "home/a/.cache/pip/x", "RUN python3 -m pip install --no-cache-dir x"),
    ("./setup", "root/.cache/pip/x", "RUN ./setup && rm -rf /root/.cache/pip"),
    ("npm ci", "root/.npm/_cacache/a", "RUN npm ci && npm cache clean --force"),
    ("go build .", "root/.cache/go-build/a/b",
     "RUN --mount=type=cache,target=/root/.cache/go-build go build ."),
    ("cargo build -r", "usr/local/cargo/registry/x",
     "RUN --mount=type=cache,target=/usr/local/cargo/registry cargo build -r"),
    ("mvn -B package", "root/.m2/repository/a.jar",
     "RUN --mount=type=cache,target=/root/.m2/repository mvn -B package"),
])  # fmt: skip
def test_caches_of_package_managers(command: str, path: str, line: str) -> None:
    ((_, size, said),) = caches(command, [path])
    assert (size, said) == (10, line)


@pytest.mark.parametrize(("command", "path"), [
    ("go mod download", "go/pkg/mod/x"), ("mvn dependency:go-offline", "root/.m2/repository/a.jar"),
    ("pip install x", "root/.cache/ms-playwright/x"), ("pip install x", "usr/lib/python3/pip/cache.py"),
    ("poetry install", "root/.cache/pypoetry/virtualenvs/x/y"),
    ("apt-get install x", "var/lib/apt/extended_states"),
])  # fmt: skip
def test_what_is_no_cache(command: str, path: str) -> None:
    assert caches(command, [path]) == []


def test_lists_that_a_later_step_needs() -> None:
    end = "&& rm -rf /var/lib/apt/lists/*"
    both = "apt-get update && apt-get install -y curl"
    assert caches(both, LISTS) == [("apt", 20, f"RUN {both} {end}")]
    assert caches("apt-get update", LISTS, "apt-get install -y curl") == [("apt", 20, f"RUN {both} {end}")]
    ((_, _, alone),) = caches("apt-get update", LISTS, "apt-get update && apt-get install -y curl")
    assert alone == f"RUN apt-get update {end}"
    assert caches('["apt-get", "update"]', LISTS) == [("apt", 20, "rm -rf /var/lib/apt/lists/*")]


# the command line


def nothing_here(_name: str, _platform: object) -> Any:
    raise AssertionError


def by_line(document: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    found = document["advice"]
    return {(one["ruleName"], one["location"]["ranges"][0]["start"]["line"]): one for one in found}


def test_advice_of_a_check(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    text = (
        f"FROM scratch\nCOPY . /\nRUN npm ci\n# check=skip=SecretInDockerfile\nENV A={TOKEN}\nENV B={TOKEN}\n"
    )
    document = call("check", Inputs(str(tmp_path), text, "Dockerfile"), BuildOptions(), nothing_here)
    assert document["warnings"] == []
    assert list(by_line(document)) == [("CopyBeforeInstall", 2), ("SecretInDockerfile", 6)]
    everything = "# check=skip=all;error=true\n" + text
    document = call("check", Inputs(str(tmp_path), everything, "Dockerfile"), BuildOptions(), nothing_here)
    assert "advice" not in document
    failing = text.replace("FROM", "# check=error=true\nFROM", 1)
    document = call("check", Inputs(str(tmp_path), failing, "Dockerfile"), BuildOptions(), nothing_here)
    assert "buildError" not in document


def test_a_check_prints_no_secret(project: Any) -> None:
    project.write("Dockerfile", f"FROM scratch\nENV A={TOKEN}\n")
    said = project.nacre("build", "--check", str(project.folder))
    assert "SecretInDockerfile" in said.out
    assert "2 | >>> ENV A=****" in said.out
    assert RANDOM not in said.out + said.err
    assert (
        "::warning file=Dockerfile,line=2"
        in project.nacre("build", "--call=check,format=github", str(project.folder)).out
    )


@pytest.mark.parametrize(
    "words", [["some"], ["sarif"], ["sarif="], ["xml=x"], ["all", "none"], ["none", "json=x"]]
)
def test_wrong_modes(words: list[str]) -> None:
    with pytest.raises(UsageError):
        read_advice(words)


def test_modes() -> None:
    assert read_advice(["none"]).mode == "none"
    assert read_advice(["sarif=a", "github=-"]) == read_advice(["all", "sarif=a", "github=-"])
    assert read_advice(["auto", "json=x"]).mode == "auto"


DOCKERFILE = f"""FROM busybox:test
ARG API_TOKEN
RUN mkdir -p /var/cache/apk && head -c 1200000 /dev/urandom > /var/cache/apk/x.tar.gz
COPY . /srv
RUN echo app:x:7:7::/:/bin/sh >> /etc/passwd && chown -R 7:8 /srv
RUN head -c 1300000 /dev/urandom > /one && echo '//r/:_authToken={RANDOM}' > /root/.npmrc
RUN chmod 700 /one
"""


def advice(
    project: Any, dockerfile: str, *words: str, **options: Any
) -> dict[tuple[str, int], dict[str, Any]]:
    report = project.folder.parent / "advice.json"
    project.build(dockerfile, f"--advice=json={report}", *words, **options)
    return by_line(json.loads(report.read_text()))


@pytest.mark.usefixtures("needs_ids")
def test_advice_of_a_build(project: Any) -> None:
    project.write("big", "0123456789" * 120_000)
    project.write(".npmrc", f"//registry/:_authToken={RANDOM}\n")
    secret = "--build-arg=API_TOKEN=hk3j4h5k6j7h8g9f"
    shown = project.build(DOCKERFILE, secret)
    lines = [line for line in shown.err.split("\n") if ": advice: " in line]
    assert len(lines) == 5
    assert "SecretIn" in lines[0]
    assert "1 more with --advice=all; --advice=none says nothing" in shown.err
    assert RANDOM not in "".join(lines)
    assert "advice" not in project.build("", secret).err
    found = advice(project, "", secret)
    assert set(found) == {
        ("SecretInHistory", 2), ("PackageCacheInLayer", 3), ("SecretInFile", 4), ("FilesDoubledByChown", 5),
        ("SecretInFile", 6), ("FilesDoubledByChown", 7),
    }  # fmt: skip
    assert found["PackageCacheInLayer", 3]["size"] == 1_200_000
    doubled = found["FilesDoubledByChown", 5]
    assert 1_200_000 < doubled["size"] < 1_201_000
    assert doubled["instead"] == "COPY --chown=7:8 . /srv"
    assert "files of line 4, written again for another owner" in doubled["detail"]
    assert found["FilesDoubledByChown", 7]["instead"].endswith("&& chmod 700 /one")
    assert found["SecretInFile", 4]["instead"] == ".dockerignore: .npmrc"


def test_switched_off(project: Any) -> None:
    text = f"FROM scratch\nCOPY Dockerfile /\nENV A={TOKEN}\n"
    assert ":3: advice: ENV holds a GitHub token" in project.build(text).err
    assert "advice" not in project.build("", "--no-cache", "--advice=none").err
    assert "advice" not in project.build("", "--no-cache", NACRE_BUILD_ADVICE="false").err
    assert project.build("", "--advice=xml=y", check=False).code == 1
    words = "build", "--check", str(project.folder)
    assert "ADVICE" in project.nacre(*words).out
    assert "ADVICE" not in project.nacre(*words, "--advice=none").out
    assert "nothing is built" in project.build("", "--explain", "--advice=all", check=False).err
    assert "--call=check,format=sarif" in project.nacre(*words, "--advice=sarif=x", check=False).err


def test_silenced_and_other_stages(project: Any) -> None:
    cache = "RUN mkdir -p /var/cache/apk && head -c 1200000 /dev/urandom > /var/cache/apk/x"
    text = f"FROM busybox:test AS a\n{cache}\nFROM busybox:test\n# check=skip=PackageCacheInLayer\n{cache}1\n"
    assert advice(project, text + f"{cache}2\nCOPY --from=a /etc/passwd /p\n").keys() == {
        ("PackageCacheInLayer", 6)
    }


def test_a_large_context(project: Any) -> None:
    for name, size in (("model", 60 << 20), (".git/objects/pack", 45 << 20), ("small", 9)):
        with open(project.write(name), "wb") as file:
            file.truncate(size)
    found = advice(project, "FROM scratch\nCOPY . /\n", "--output=type=cacheonly")
    (one,) = found.values()
    assert one["detail"] == "110MB of the context are copied: model 62.9MB, .git/ 47.2MB"
    assert one["instead"] == ".dockerignore: .git"
    report = project.folder.parent / "x.sarif"
    project.build("", f"--advice=sarif={report}")
    (result,) = json.loads(report.read_text())["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("LargeContext", "note")
    assert result["properties"]["bytes"] == (105 << 20) + 9 + len("FROM scratch\nCOPY . /\n")
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 2, "endLine": 2}


def test_a_good_build_gets_none(project: Any) -> None:
    project.write("app/main", "x" * 2_000_000)
    text = "FROM busybox:test\nCOPY --chown=1:1 app /app\nRUN chmod 755 /app && touch /app/new\nUSER 1\n"
    report = project.folder.parent / "x.sarif"
    assert "advice" not in project.build(text, f"--advice=sarif={report}", "--advice=all").err
    assert json.loads(report.read_text())["runs"][0]["results"] == []


def test_every_kind_of_advice_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "build.md").read_text()
    assert all(f"| `{rule}` |" in page for rule in ADVICE)
