"""Builds that take long: packages of Debian, stages side by side, many files, large files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from .bench import Bench
from .harness import Case, Scenario
from .peers import BASE, Peer

_INSTALL = (
    "RUN apt-get update && apt-get install -y --no-install-recommends {} && rm -rf /var/lib/apt/lists/*"
)
_PACKAGES = {
    "curl": "ca-certificates curl gnupg netbase tzdata wget",
    "scm": "git mercurial openssh-client procps subversion",
    "full": (
        "autoconf automake bzip2 default-libmysqlclient-dev dpkg-dev file g++ gcc imagemagick libbz2-dev "
        "libcurl4-openssl-dev libdb-dev libevent-dev libffi-dev libgdbm-dev libglib2.0-dev libgmp-dev "
        "libjpeg-dev libkrb5-dev liblzma-dev libmagickcore-dev libmagickwand-dev libmaxminddb-dev "
        "libncurses-dev libpng-dev libpq-dev libreadline-dev libsqlite3-dev libssl-dev libtool libwebp-dev "
        "libxml2-dev libxslt1-dev libyaml-dev make patch unzip xz-utils zlib1g-dev"
    ),
}
_STAGES = range(1, 9)


class BuildPackages(Scenario):
    """Three images on each other that install 1.2 GB of packages, as buildpack-deps does."""

    name = "build-packages"
    question = "three builds --no-cache on each other, 1.2 GB of Debian packages"
    warm, most = 1, 5

    def cases(self, bench: Bench) -> Iterator[Case]:
        before, folder = bench.slim, bench.fresh(self.name)
        for name, packages in _PACKAGES.items():
            (folder / name).mkdir()
            (folder / name / "Dockerfile").write_text(f"FROM {before}\n{_INSTALL.format(packages)}\n")
            before = f"bench-{name}"
        for peer in bench.each("nacre", "docker", "buildah"):
            if isinstance(peer, Case):
                yield peer
                continue
            bench.share(peer, bench.slim)
            proxy = f"http_proxy={bench.mirror}"
            words = [*peer.words, "build", "--no-cache", "--network", "host", "--build-arg", proxy]
            script = f'for name in curl scm full; do "$@" -t bench-$name {folder}/$name || exit; done'
            yield Case(peer.name, ["sh", "-c", script, "sh", *words], peer.env, folder, daemon=peer.daemon)


class BuildStages(Scenario):
    """Eight stages that depend on none but their base, and one that takes a file of each."""

    warm, most = 1, 9

    def __init__(self, name: str, question: str, step: str, *, compiles: bool = False) -> None:
        self.name, self.question, self._step, self._compiles = name, question, step, compiles

    def cases(self, bench: Bench) -> Iterator[Case]:
        base, folder = bench.compiler if self._compiles else BASE, bench.fresh(self.name)
        (folder / "program.c").write_text(_program())
        stages = "".join(f"FROM {base} AS s{n}\n{self._step.format(n)}\n" for n in _STAGES)
        copies = "".join(f"COPY --from=s{n} /made{n} /\n" for n in _STAGES)
        (folder / "Dockerfile").write_text(f"{stages}FROM {base}\n{copies}")
        for peer in bench.each("nacre", "docker", "buildah"):
            if isinstance(peer, Case):
                yield peer
                continue
            bench.share(peer, base)
            yield _case(peer, folder, "--no-cache", *(["--jobs", "8"] if peer.name == "buildah" else []))


def _program() -> str:
    """C that takes a compiler some seconds."""
    cases = "".join(f"case {k}: a += {k} * n; break; " for k in range(8))
    body = f"for (int i = 0; i < n; i++) {{ a = a * 31 + i; switch (a & 7) {{ {cases}}} }}"
    functions = [f"long f{n}(long n) {{ long a = {n}; {body} return a; }}" for n in range(1500)]
    return "\n".join([*functions, "int main(void) { return 0; }", ""])


class BuildLine(Scenario):
    """One line of one file changed among 20,000."""

    name = "build-line"
    question = "build with one line changed among 20,000 files"

    def cases(self, bench: Bench) -> Iterator[Case]:
        folder = bench.fresh(self.name)
        (folder / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . /srv\n")
        for number in range(200):
            (folder / f"folder{number}").mkdir()
            for other in range(100):
                path = folder / f"folder{number}" / f"file{other}"
                path.write_text(f"{number} {other}\n" * 100)

        def change(_round: int) -> None:
            with (folder / "folder100/file50").open("a") as file:
                file.write("one more line\n")

        for peer in bench.each("nacre", "docker", "buildah"):
            if isinstance(peer, Case):
                yield peer
                continue
            case = _case(peer, folder, *(["--layers"] if peer.name == "buildah" else []))
            case.before = change
            yield case


class BuildCopy(Scenario):
    """A COPY of 2 GB in 20 files that have changed."""

    name = "build-copy"
    question = "build: COPY of 2 GB, all of it new"
    warm, most = 1, 3

    def cases(self, bench: Bench) -> Iterator[Case]:
        folder = bench.fresh(self.name)
        (folder / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . /srv\n")
        for peer in bench.each("nacre", "docker", "buildah"):
            if isinstance(peer, Case):
                yield peer
                continue
            case = _case(peer, folder)
            case.before = lambda _round: _fill(folder)
            yield case


def _fill(folder: Path) -> None:
    """Half of it cannot be compressed."""
    for number in range(20):
        with (folder / f"file{number}").open("wb") as file:
            for _ in range(100):
                file.write(os.urandom(500_000) + bytes(500_000))


def _case(peer: Peer, folder: Path, *options: str) -> Case:
    network = ["--network", "none"] if peer.name == "docker" else []
    words = [*peer.words, "build", *network, *options, "-t", "bench-large", str(folder)]
    return Case(peer.name, words, peer.env, folder, daemon=peer.daemon)


SCENARIOS: Sequence[Scenario] = (
    BuildStages("build-stages", "eight independent stages `RUN sleep 1`", "RUN sleep 1; echo {0} > /made{0}"),
    BuildStages(
        "build-compile", "eight stages that each compile",
        "COPY program.c /\nRUN gcc -O2 -DSTAGE={0} -o /made{0} /program.c", compiles=True,
    ),
    BuildLine(),
    BuildCopy(),
    BuildPackages(),
)  # fmt: skip
