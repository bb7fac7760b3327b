# ruff: noqa: E501 - tables of attacks are read by the line
"""Dockerfiles, contexts and base images that are made to get hold of the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evil import Image, Layer, Outside, leftovers, sentence

BASE = "FROM busybox:test\n"


class Build:
    """Builds in a context folder; whatever it says or makes must not show the host's secret."""

    def __init__(self, nacre: Any, folder: Path, outside: Outside) -> None:
        self.nacre, self.folder, self.outside = nacre, folder, outside

    def __call__(self, text: str, *words: str) -> Any:
        (self.folder / "Dockerfile").write_text(text)
        result = self.nacre("build", "--no-cache", "-t", "evil:1", *words, str(self.folder), check=False)
        self.check(result)
        return result

    def check(self, result: Any) -> None:
        self.outside.check()
        assert self.outside.SECRET not in result.out + result.err, result
        assert leftovers(self.nacre.root) == []
        if result.code:
            sentence(result)
        else:
            assert self.outside.SECRET.encode() not in self.nacre("save", "evil:1").raw


@pytest.fixture
def build(nacre: Any, project: Path, outside: Outside) -> Build:
    return Build(nacre, project, outside)


@pytest.fixture
def linked(build: Build, project: Path, outside: Outside) -> Build:
    """A context full of links that lead out."""
    (project / "abs").symlink_to(outside.folder)
    (project / "file").symlink_to(outside.folder / "secret")
    (project / "rel").symlink_to("../outside")
    (project / "folder").mkdir()
    (project / "folder/up").symlink_to("../../outside/secret")
    return build


@pytest.mark.parametrize(
    "source",
    [
        "abs/secret",
        "file",
        "rel/secret",
        "rel",
        "abs/",
        "folder/up",
        "../outside/secret",
        "*/secret",
        "r*l/*",
    ],
)
def test_cve_2024_9675_sources_stay_in_the_context(linked: Build, outside: Outside, source: str) -> None:
    """buildah 2020-10696, 2024-9675: COPY, ADD and --mount followed links of the context to the host."""
    for text in (
        f"COPY {source} /out/", f"ADD {source} /out/",
        f"RUN --mount=type=bind,source={source},target=/in cat /in /in/secret; true",
    ):  # fmt: skip
        linked(BASE + text + "\n")


@pytest.mark.parametrize("target", ["abs/secret", "link", "rel", "etc", "/../..{out}/secret"])
def test_cve_2024_1753_sources_stay_in_the_stage(build: Build, outside: Outside, target: str) -> None:
    """buildah: `--mount=from=stage` and `COPY --from` followed links of the stage to the host's root."""
    stage = (
        f"{BASE}RUN ln -s {outside} /abs; ln -s {outside}/secret /link; ln -s {outside.from_root()} /rel; "
        f"rm -rf /etc; ln -s / /etc\nFROM busybox:test\n"
    )
    target = target.format(out=outside)
    result = build(stage + f"COPY --from=0 {target} /out/\n")
    build(
        stage + f"RUN --mount=type=bind,from=0,source={target},target=/in find /in | grep {outside}/secret\n"
    )
    build(stage + f"RUN --mount=type=bind,from=0,source={target},target=/in,rw cat /in /in/secret; true\n")
    del result


def test_cve_2024_11218_and_9407_options_come_from_a_list(build: Build, outside: Outside) -> None:
    """buildah, podman: free text in `--mount` became mount options; a bind of the host's root among them."""
    for option in (
        f"type=bind,source={outside},target=/in,bind-propagation=shared", "type=bind,source=/,target=/in,dev,suid",
        "type=bind,source=.,target=/in,z,U", "type=tmpfs,target=/in,tmpcopyup", "type=image,source=/,target=/in",
        "type=cache,target=/in,mode=0777,upperdir=/", "type=volume,source=/,target=/in", "type=devpts,target=/in",
        "type=tmpfs,target=/in,size=1m:bind", "type=bind,target=/in,bind-nonrecursive=,src=/",
    ):  # fmt: skip
        result = build(f"{BASE}RUN --mount={option} cat /in/secret /in/outside/secret\n")
        assert result.code == 1, option


@pytest.mark.parametrize("name", ["../../outside", "..", "/etc", "a/../../../../outside", "%2e%2e"])
def test_cve_2024_9675_cache_ids_are_no_paths(build: Build, outside: Outside, name: str) -> None:
    """buildah: `--mount=type=cache,id=../..` was the host's folder."""
    build(f"{BASE}RUN --mount=type=cache,id={name},target=/c touch /c/planted; cat /c/secret; ls /c > /out\n")
    caches = build.nacre.root / "build/cache"
    assert all(path.parent == caches for path in caches.rglob("planted-*"))
    assert not list(build.nacre.root.parent.glob("planted"))


def test_cve_2024_9675_targets_stay_inside(build: Build, nacre: Any, outside: Outside) -> None:
    """Mount targets that are links of the image."""
    stage = f"{BASE}RUN ln -s {outside} /abs; ln -s {outside.from_root()} /rel\n"
    for target in ("/abs", "/rel/inner", "/abs/new", f"../../../..{outside}"):
        for kind in ("cache", "tmpfs", "bind"):
            build(
                f"{stage}RUN --mount=type={kind},target={target} ls {target}; touch {target}/planted; true\n"
            )


@pytest.mark.parametrize("text", [
    "COPY planted /abs/", "COPY planted /abs/secret", "COPY planted /rel/secret", "ADD rootfs.tar /abs/",
    "COPY --chmod=777 planted /file", "COPY --chown=0:0 planted /file", "COPY tree/ /", "WORKDIR /abs/new",
    "WORKDIR /abs\nCOPY planted secret", "COPY <<EOF /abs/planted\nx\nEOF", "COPY --parents tree/./abs/planted /",
])  # fmt: skip
def test_cve_2020_10696_destinations_stay_in_the_image(
    build: Build, project: Path, outside: Outside, text: str
) -> None:
    (project / "planted").write_text("planted")
    (project / "rootfs.tar").write_bytes(Layer().file("secret").file("planted").bytes())
    (project / "tree/abs").mkdir(parents=True)
    (project / "tree/abs/planted").write_text("planted")
    base = f"{BASE}RUN ln -s {outside} /abs; ln -s {outside}/secret /file; ln -s {outside.from_root()} /rel\n"
    build("# syntax=docker/dockerfile:1-labs\n" + base + text + "\n")


def test_cve_2022_4122_ignore_files_are_read_in_the_context(
    build: Build, project: Path, outside: Outside
) -> None:
    """podman: `.dockerignore` as a link showed lines of a file of the host."""
    (outside.folder / "passwd").write_text(f"[{outside.SECRET}\n")
    outside._before = outside._snapshot()
    for name in (".dockerignore", "Dockerfile.dockerignore"):
        for target in (outside.folder / "passwd", Path("../outside/passwd")):
            (project / name).symlink_to(target)
            build(BASE + "COPY . /\n")
            (project / name).unlink()


def test_cve_2022_4123_a_dockerfile_that_is_a_link(nacre: Any, project: Path, outside: Outside) -> None:
    (outside.folder / "passwd").write_text(f"{outside.SECRET}\n")
    outside._before = outside._snapshot()
    (project / "Dockerfile").symlink_to(outside.folder / "passwd")
    result = nacre("build", str(project), check=False)
    sentence(result)
    assert "host's" not in result.err


@pytest.mark.parametrize("name", ["Dockerfile", "x/Dockerfile"])
def test_cve_2022_4122_a_context_as_a_tar_has_links(
    nacre: Any, project: Path, outside: Outside, name: str
) -> None:
    """Dockerfile, ignore file or the folder of both lead out of a context that came as a tar."""
    (outside.folder / "Dockerfile").write_text(f"{outside.SECRET}\n")
    (outside.folder / "Dockerfile.dockerignore").write_text(f"[{outside.SECRET}\n")
    outside._before = outside._snapshot()
    for layer in (
        Layer().link("x", str(outside)).link("Dockerfile", f"{outside}/Dockerfile"),
        Layer().file("x/Dockerfile", b"FROM scratch\nCOPY . /\n").file("Dockerfile", b"FROM scratch\nCOPY . /\n")
        .link(f"{name}.dockerignore", f"{outside}/Dockerfile.dockerignore"),
        Layer().link("x", str(outside)).file("Dockerfile", b"FROM scratch\nCOPY x /\n"),
    ):  # fmt: skip
        result = nacre("build", "-f", name, "-", input=layer.bytes(), check=False)
        assert "host's" not in result.out + result.err, result


def test_cve_2024_23652_tidying_up_stays_inside(build: Build, outside: Outside) -> None:
    """buildkit removed the place of a mount after the step, by path, through a link put there meanwhile."""
    swap = f"mkdir /old; mv /a /old/ 2>/dev/null; rm -rf /a; ln -s {outside} /a"
    for kind in ("cache", "tmpfs", "bind"):
        build(f"{BASE}RUN --mount=type={kind},target=/a/y {swap}; true\n")
        build(f"{BASE}RUN --mount=type={kind},target=/a/b/y cd /a; mv b c; ln -s {outside} b\n")


def test_cve_2024_23651_a_cache_that_is_swapped(build: Build, outside: Outside) -> None:
    """buildkit: one step makes a link in the cache, the next mounts a path beneath it."""
    first = (
        f"RUN --mount=type=cache,id=c,target=/c ln -sfn {outside} /c/link; ln -sfn {outside}/secret /c/file\n"
    )
    build(f"{BASE}{first}RUN --mount=type=cache,id=c,target=/c cat /c/link/secret /c/file; true\n")
    build(f"{BASE}{first}RUN --mount=type=cache,id=c,source=link,target=/d cat /d/secret\n")
    build(
        f"{BASE}{first}RUN --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/link ls /c/link\n"
    )


def test_cve_2024_11218_and_23651_stages_that_race(build: Build, outside: Outside) -> None:
    """buildah, buildkit: one stage swaps a folder of a shared cache for a link while another mounts it."""
    swap = f"mv /c/d /c/e; ln -s {outside} /c/d; rm /c/d; mv /c/e /c/d"
    first = f"FROM busybox:test AS a\nRUN --mount=type=cache,id=c,target=/c mkdir -p /c/d; touch /c/on; while [ -e /c/on ]; do {swap}; done\n"
    begin = "RUN --mount=type=cache,id=c,target=/c while ! [ -e /c/on ]; do :; done\n"
    mounts = "--mount=type=cache,id=c,source=d,target=/m --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/d/t"
    steps = [f"RUN {mounts} cat /m/secret /c/d/secret; echo {number}\n" for number in range(6)]
    end = "RUN --mount=type=cache,id=c,target=/c rm /c/on\n"
    last = "FROM busybox:test\nCOPY --from=a /bin/sh /a\nCOPY --from=b /bin/sh /b\n"
    for parts in ([*steps[:3], end], [*steps[3:], end]):
        build("".join([first, "FROM busybox:test AS b\n", begin, *parts, last]), "--parallel", "2")
    build("FROM busybox:test\n" + end.replace("rm", "rm -f"))


@pytest.mark.parametrize(
    "text", ["RUN --security=insecure id", "RUN --network=host --security=insecure id", "RUN --device=all id"]
)
def test_cve_2024_23653_privileges_are_not_for_dockerfiles(build: Build, text: str) -> None:
    """buildkit gave privileges that nobody had granted."""
    assert build("# syntax=docker/dockerfile:1-labs\n" + BASE + text + "\n").code == 1


def test_cve_2024_23653_a_frontend_is_not_run(build: Build) -> None:
    """`# syntax=` names an image to be run with the builder's rights; we never fetch or run it."""
    assert build("# syntax=127.0.0.1:1/evil/frontend\n" + BASE + "RUN echo fine\n").code == 0


def test_cve_2024_24557_an_image_does_not_poison_the_cache(
    nacre: Any, project: Path, busybox_image: str, busybox_tar: bytes
) -> None:
    """moby: an image that claims to be the result of a step was taken for it."""
    (project / "Dockerfile").write_text(BASE + "RUN echo good > /f\nCMD cat /f\n")
    nacre("build", "-t", "good:1", str(project))
    good = nacre("inspect", "good:1").json[0]
    config = {"Cmd": good["Config"]["Cmd"], "Env": good["Config"]["Env"]}
    poison = Image(busybox_tar, Layer().file("f", b"evil\n").bytes(), run=config)
    raw = json.loads(poison.blobs[poison.manifest["config"]["digest"]])
    history = nacre("history", "--no-trunc", "--format", "json", "good:1").lines
    raw["history"] = [{"created_by": json.loads(row)["CreatedBy"]} for row in reversed(history)]
    raw["parent"] = raw["config"]["Image"] = nacre("inspect", busybox_image).json[0]["Id"]
    poison.manifest["config"] = poison.blob(json.dumps(raw).encode(), poison.manifest["config"]["mediaType"])
    nacre("rmi", "good:1")
    nacre("builder", "prune", "-a", "-f", check=False)
    nacre("load", input=poison.archive("evil:1"))
    (project / "Dockerfile").write_text("FROM busybox:test\nRUN echo good > /f\nCMD cat /f\n")
    again = nacre("build", "--no-cache", "-t", "good:2", str(project))
    assert "good" in nacre("run", "--rm", "good:2").out
    cached = nacre("build", "-t", "good:3", str(project), "--build-arg", "X=1")
    assert "good" in nacre("run", "--rm", "good:3").out
    del again, cached
