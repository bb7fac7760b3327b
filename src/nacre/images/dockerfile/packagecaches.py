"""Caches of package managers: where they lie in a layer, and the line that leaves none. Pure.

A folder belongs to a cache by its name. Some hold what programs need later as well (Go, Cargo, Maven,
Gradle): these count only where the same command has built something.
"""

from __future__ import annotations

import re

from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...grammars.dockerfile.instructions import Instruction, RunInstruction

_SHOWN = 160
"""Characters of a command that are shown whole."""
_READ = 10_000
"""Characters of a command that are looked at."""


class PackageCache(Value):
    """A kind of cache: `folder` fits its path in a layer.

    What leaves none is a command at the `end` of the RUN, a `change` of its text (what, by what), or a mount
    of its folder, if neither is there. `built`: it counts only in a RUN that does this.
    """

    tool: str
    what: str
    folder: str
    end: str = ""
    change: tuple[str, str] = ("", "")
    built: str = ""


_GO, _CARGO = r"\bgo (?:build|install)\b", r"\bcargo (?:build|install)\b"
_JAVA = r"\b(?:mvnw?|gradlew?)\b.*\b(?:package|install|verify|build|assemble|bootJar|shadowJar)\b"
CACHES = (
    PackageCache("apt", "package lists", r"var/lib/apt/lists", "rm -rf /var/lib/apt/lists/*"),
    PackageCache("apt", "packages and indexes", r"var/cache/apt", "apt-get clean"),
    PackageCache("apk", "indexes", r"var/cache/apk|etc/apk/cache",
                 "rm -rf /var/cache/apk/*", (r"\bapk add(?! .*--no-cache)", "apk add --no-cache")),
    PackageCache("dnf", "metadata and packages", r"var/cache/(?:dnf|libdnf5|yum)", "{tool} clean all"),
    PackageCache("zypper", "metadata and packages", r"var/cache/zypp", "zypper clean --all"),
    PackageCache("pacman", "packages", r"var/cache/pacman/pkg", "pacman -Scc --noconfirm"),
    PackageCache("pip", "wheels and pages", r"(?:.*/)?\.cache/pip", "rm -rf {folder}",
                 (r"\b(pip3?|python3? -m pip) install(?! .*--no-cache-dir)", r"\1 install --no-cache-dir")),
    PackageCache("uv", "wheels", r"(?:.*/)?\.cache/uv", "uv cache clean"),
    PackageCache("poetry", "wheels", r"(?:.*/)?\.cache/pypoetry/(?:cache|artifacts)",
                 "rm -rf {folder}"),
    PackageCache("npm", "packages", r"(?:.*/)?\.npm/_cacache", "npm cache clean --force"),
    PackageCache("yarn", "packages", r"(?:.*/)?(?:\.cache/yarn|\.yarn/berry/cache)",
                 "yarn cache clean"),
    PackageCache("composer", "packages", r"(?:.*/)?(?:\.cache/composer|\.composer/cache)",
                 "composer clear-cache"),
    PackageCache("gem", "packages",
                 r"(?:.*/)?(?:gems/[\d.]+|usr/local/bundle(?:/ruby/[\d.]+)?)/cache", "rm -rf {folder}"),
    PackageCache("conda", "packages",
                 r"(?:.*/)?(?:conda|miniconda3?|anaconda3|miniforge3?|mambaforge)/pkgs", "conda clean -afy"),
    PackageCache("go", "objects of the compiler", r"(?:.*/)?\.cache/go-build", built=_GO),
    PackageCache("go", "modules", r"(?:.*/)?go/pkg/mod", built=_GO),
    PackageCache("cargo", "crates", r"(?:.*/)?(?:\.cargo|usr/local/cargo)/(?:registry|git)",
                 built=_CARGO),
    PackageCache("maven", "artifacts", r"(?:.*/)?\.m2/repository", built=_JAVA),
    PackageCache("gradle", "artifacts", r"(?:.*/)?\.gradle/caches", built=_JAVA),
)  # fmt: skip


class LayerCache(Value):
    """A cache in a layer, at the absolute path `folder`."""

    cache: PackageCache
    folder: str
    size: int


class CacheFinder:
    """Sums up the files of one layer that a RUN has written."""

    def __init__(self, command: str) -> None:
        text = command[:_READ]
        kinds = [one for one in CACHES if not one.built or re.search(one.built, text, re.DOTALL)]
        self._kinds = [(re.compile(one.folder.encode() + rb"(?=/|$)"), one) for one in kinds]
        self._folders: dict[bytes, tuple[PackageCache, str] | None] = {}
        self._sizes: dict[tuple[PackageCache, str], int] = {}

    def add(self, path: bytes, size: int) -> None:
        """A file that has one name."""
        folder = path.rpartition(b"/")[0]
        if folder not in self._folders:
            self._folders[folder] = self._find(folder)
        if (found := self._folders[folder]) is not None:
            self._sizes[found] = self._sizes.get(found, 0) + size

    def _find(self, folder: bytes) -> tuple[PackageCache, str] | None:
        for shape, kind in self._kinds:
            if found := shape.match(folder):
                return kind, "/" + found[0].decode("utf-8", "backslashreplace")
        return None

    def found(self) -> list[LayerCache]:
        """The caches, the largest first."""
        found = [LayerCache(*key, size) for key, size in self._sizes.items()]
        return sorted(found, key=lambda one: -one.size)


def instead(run: RunInstruction, found: Sequence[LayerCache], later: Sequence[Instruction]) -> str:
    """The RUN that leaves none of these, which are of one tool; `later` are the RUNs after it."""
    code = " ".join(run.code.split())
    if run.command.heredocs or not run.command.shell or len(code) > _READ:
        return "\n".join(_end(one, code) for one in found if one.cache.end)
    if not found[0].cache.end:
        mounts = " ".join(f"--mount=type=cache,target={one.folder}" for one in found)
        return _brief(f"RUN {mounts} {code.partition(' ')[2]}")
    what, by = found[0].cache.change
    if what and re.search(what, code):
        code = re.sub(r"\bapk update (?:&&|;) ", "", re.sub(what, by, code))
        return _brief(code)
    if found[0].cache.tool == "apt" and (other := _needing(code, later)):
        code = f"{code} && {' '.join(other.code.split()).partition(' ')[2]}"
    return _brief(" && ".join([code, *(_end(one, code) for one in found)]))


def _end(one: LayerCache, code: str) -> str:
    used = re.search(r"\b(dnf|microdnf|yum)\b", code)
    return one.cache.end.format(folder=one.folder, tool=used[1] if used else "dnf")


def _needing(code: str, later: Iterable[Instruction]) -> Instruction | None:
    """The next RUN that installs from the lists that this one has fetched, if this one alone has."""
    if re.search(r"\bapt(?:-get)? .*install\b", code):
        return None
    for item in later:
        if re.search(r"\bapt(?:-get)? (?:update|.*install\b)", " ".join(item.code[:_READ].split())):
            return None if "update" in item.code or "--mount" in item.code else item
    return None


def _brief(code: str) -> str:
    return code if len(code) <= _SHOWN else f"RUN … {code[-_SHOWN:].partition(' ')[2]}"
