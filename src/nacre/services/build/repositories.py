"""ADD and contexts from git: a commit of a repository, by the git program.

    source ──git──▶ a folder of the build with one commit, dated by it ──▶ copied as files of a context

A repository is not trusted: nobody's configuration and no hooks are obeyed, submodules come by the same
protocols only, and no link leads out of the folder. The secret GIT_AUTH_TOKEN is a token for https.
"""

from __future__ import annotations

import os
from base64 import b64encode
from hashlib import sha256

from ...grammars.dockerfile.ignore import Ignore
from ...grammars.wire.links import shown
from ...ground.files import os_errors, random_name, remove_tree
from ...words.errors import ContentError, NotFound, RegistryError, UsageError
from ...words.value import Value
from .context import BuildContext
from .filehash import FileHashes, content_digest
from .items import FetchedItem, raw, resolve, text
from .select import Selection, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...grammars.dockerfile.gitsource import GitSource
    from ...grammars.tar.entry import Reader
    from .items import CopyItem

_WEB = ("http://", "https://")
_PROTOCOLS = "http:https:ssh:git"
_SECOND = 1_000_000_000
_TOKEN = "GIT_AUTH_TOKEN"
_QUIET = ("core.hooksPath=/dev/null", "init.defaultBranch=main", "advice.detachedHead=false", "gc.auto=0")
_SHOWN = 500


class FetchedRepository(Value):
    """A commit that is in the folder `path`, and when it was made."""

    path: str
    commit: str
    time_ns: int

    def opened(self, source: GitSource, name: str) -> BuildContext:
        """The folder that `source` means, as a context. Raises UsageError."""
        with BuildContext(self.path, Ignore(), FileHashes("", "")) as tree:
            at, item = resolve(tree.lookup, raw(source.folder))
        if item is None or item.kind != "dir":
            raise UsageError(f"{source.folder!r} is no directory of {_named(source)}")
        return RepositoryContext(os.path.join(self.path, text(at)), self.commit, name)


class RepositoryContext(BuildContext):
    """A folder of a repository. What is git's own is known by the commit."""

    def __init__(self, folder: str, commit: str, name: str) -> None:
        """Raises NotFound when there is no such folder."""
        super().__init__(folder, Ignore(), FileHashes("", ""), name)
        self._commit = commit

    def digest(self, item: CopyItem) -> bytes:
        """See `Source`; git's own files differ each time that they are written."""
        return of_commit(item.path, self._commit) or super().digest(item)


def of_commit(path: bytes, commit: str) -> bytes:
    """What stands for the content of a file of git's own, b"" for others."""
    return sha256(commit.encode()).digest() if path.startswith(b".git/") else b""


class RepositoryItem(FetchedItem):
    """A file of a repository; `tree` opens it. What is git's own is known by the commit."""

    __slots__ = ("commit", "tree")

    def __init__(self, item: CopyItem, tree: BuildContext, fetched: FetchedRepository) -> None:
        super().__init__(
            item.path, item.kind, item.mode, fetched.time_ns, size=item.size, link=item.link,
            identity=item.identity, stamp=item.stamp,
        )  # fmt: skip
        self.tree, self.commit = tree, fetched.commit

    def open(self) -> Reader:
        """The content, from its beginning."""
        return self.tree.open(self)

    def digest(self) -> bytes:
        """The SHA-256 of the content, as of a `RepositoryContext`."""
        return of_commit(self.path, self.commit) or content_digest(self.open())


class GitConnection(Value):
    """How git reaches a server: the URL of a proxy, files of authorities besides the system's, and a pair.

    The pair is the certificate and the key of this side. `bundle` is a file with the system's authorities.
    """

    proxy: str = ""
    authorities: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    bundle: str = ""

    def settings(self, folder: str) -> list[tuple[str, str]]:
        """As git takes them; `folder` has room for a file. Raises StoreError."""
        found = [("http.proxy", self.proxy)]
        if self.authorities:
            path = f"{folder}/authorities-{random_name()}"
            with os_errors("read certificates"), open(path, "xb") as file:
                for name in filter(None, (self.bundle, *self.authorities)):
                    with open(name, "rb") as one:
                        file.write(one.read() + b"\n")
            found.append(("http.sslCAInfo", path))
        for certificate, key in self.pairs:
            found += [("http.sslCert", certificate), ("http.sslKey", key or certificate)]
        return found


class Repositories:
    """What one build fetches by git, into the folder `folder`. Close it."""

    def __init__(
        self, folder: str, secrets: Mapping[str, bytes], agents: Mapping[str, str],
        settings: Callable[[str], GitConnection],
    ) -> None:  # fmt: skip
        self._folder, self._secrets, self._agents, self._settings = folder, secrets, agents, settings
        self._known: dict[GitSource, tuple[FetchedRepository, BuildContext]] = {}

    def has(self, source: GitSource) -> bool:
        """Whether it was fetched."""
        return source in self._known

    def keep(self, source: GitSource, fetched: FetchedRepository) -> None:
        """It was fetched, here or in another process. Raises NotFound."""
        self._known[source] = fetched, BuildContext(fetched.path, Ignore(), FileHashes("", ""))

    def fetched(self) -> list[tuple[str, str]]:
        """Each repository, with its ref, and the commit."""
        return [
            (_named(source) + (f"#{source.ref}" if source.ref else ""), found.commit)
            for source, (found, _) in self._known.items()
        ]

    def context(self, source: GitSource, name: str) -> BuildContext:
        """A repository that was fetched, as a context of its own. Raises UsageError."""
        return self._known[source][0].opened(source, name)

    def select(self, source: GitSource, excludes: Sequence[str]) -> Selection:
        """The files of a repository that was fetched. Raises UsageError."""
        fetched, tree = self._known[source]
        found = select(tree, source.folder, excludes)
        if not found or not found[0].is_folder:
            raise UsageError(f"{source.folder!r} is no directory of {_named(source)}")
        files = ((path, RepositoryItem(item, tree, fetched)) for path, item in found[0].files)
        return Selection(raw(source.folder), tuple(files))

    def fetch(self, source: GitSource) -> FetchedRepository:
        """Fetch one commit. Raises RegistryError, NotFound, ContentError, StoreError."""
        path = f"{self._folder}/git-{random_name()}"
        with os_errors("make room for a repository"):
            os.mkdir(path, 0o700)
        git = _Git(path, self._environment(source.remote))
        names = _listed(git, source)
        git.run("init", "-q", "--template=", *_object_format(names))
        git.run("remote", "add", "origin", "--", source.remote)
        commit = _checked_out(git, source, names)
        time_ns = int(git.run("show", "-s", "--format=%ct", commit)) * _SECOND
        if source.submodules and os.path.lexists(f"{path}/.gitmodules"):
            words = ("submodule", "update", "-q", "--init", "--recursive")
            if not git.succeeds(*words, "--depth=1"):
                git.run(*words)
        _tidy(path, bool(source.keep))
        _date(path, time_ns)
        return FetchedRepository(path, commit, time_ns)

    def _environment(self, remote: str) -> dict[str, str]:
        """No configuration but ours, and nobody to ask."""
        settings = [setting.partition("=")[::2] for setting in _QUIET]
        if remote.startswith(_WEB):
            settings += self._settings(remote).settings(self._folder)
        if _TOKEN in self._secrets and remote.startswith("https://"):
            token = b64encode(b"x-access-token:" + self._secrets[_TOKEN].strip()).decode()
            origin = "/".join(remote.split("/")[:3])
            settings.append((f"http.{origin}/.extraHeader", f"Authorization: Basic {token}"))
        pairs: dict[str, str] = {}
        for number, (name, value) in enumerate(settings):
            pairs |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        agent = {"SSH_AUTH_SOCK": self._agents["default"]} if "default" in self._agents else {}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return kept | agent | pairs | {
            "GIT_CONFIG_COUNT": str(len(settings)), "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
            "LC_ALL": "C",
            "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
        }  # fmt: skip

    def close(self) -> None:
        """Give the room back. Idempotent."""
        while self._known:
            fetched, tree = self._known.popitem()[1]
            tree.close()
            remove_tree(fetched.path)


class _Git:
    """The program, at work in one folder."""

    def __init__(self, folder: str, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment

    def run(self, *words: str) -> str:
        """What it prints. Raises NotFound without the program, RegistryError when it fails."""
        from subprocess import DEVNULL, run

        try:
            done = run(
                ["git", *words], cwd=self._folder, env=self._environment, stdin=DEVNULL, capture_output=True,
                umask=0o022, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise NotFound(
                "a source in git needs the program git, which is not installed",
                hint="install git on this machine",
            ) from None
        if done.returncode:
            raise RegistryError(f"git {words[0]} failed: {_why(done.stderr)[:_SHOWN]}")
        return done.stdout.decode("utf-8", "replace").strip()

    def succeeds(self, *words: str) -> bool:
        """Whether it does not fail."""
        try:
            self.run(*words)
        except RegistryError:
            return False
        return True


def _why(said: bytes) -> str:
    """The last two lines; git says after them what might be wrong."""
    text = said.decode("utf-8", "replace").partition("\nPlease make sure you have the correct access")[0]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return " ".join(lines[-2:])


def _named(source: GitSource) -> str:
    try:
        return shown(source.remote)
    except ValueError:
        return source.remote


def _listed(git: _Git, source: GitSource) -> dict[str, str]:
    """The names of the repository that may be meant, and the objects that they stand for."""
    ref = source.ref or "HEAD"
    text = git.run("ls-remote", "--", source.remote, ref, f"{ref}^{{}}")
    return {name: value for value, _, name in (line.partition("\t") for line in text.split("\n")) if name}


def _object_format(names: Mapping[str, str]) -> list[str]:
    return ["--object-format=sha256"] if any(len(value) == 64 for value in names.values()) else []


def _checked_out(git: _Git, source: GitSource, names: Mapping[str, str]) -> str:
    """Fetch and check out what the source means; its commit."""
    name, wanted = _meant(source, names)
    if not git.succeeds("fetch", "-q", "--depth=1", "--no-tags", "--", "origin", name):
        # the protocol has no shallow copies, or the server gives no object that has no name
        git.run("fetch", "-q", "--tags", "--", "origin", "+refs/heads/*:refs/remotes/origin/*")
    commit = git.run("rev-parse", "--verify", "-q", f"{wanted}^{{commit}}")
    tags = (value for value in names.values())
    if not any(one.startswith(source.checksum) for one in (commit, *tags)):
        raise ContentError(f"expected checksum to match {source.checksum}, got {commit}")
    git.run("checkout", "-q", "--detach", commit)
    return commit


def _meant(source: GitSource, names: Mapping[str, str]) -> tuple[str, str]:
    """The name that is fetched, and the object: a branch before a tag, as for git checkout."""
    ref = source.ref or "HEAD"
    for name in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}"):
        if name in names:
            return name, names.get(f"{name}^{{}}", names[name])
    if len(ref) in (40, 64) and all(char in "0123456789abcdef" for char in ref):
        return ref, ref
    raise NotFound(f"{_named(source)} has no branch, tag or commit {ref!r}")


def _date(path: str, time_ns: int) -> None:
    """All files bear the time of the commit: when they were written is another each time."""
    with os_errors("date a repository"):
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files, "."):
                os.utime(f"{folder}/{name}", ns=(time_ns, time_ns), follow_symlinks=False)


def _tidy(path: str, keep: bool) -> None:
    """Remove what is another each time; without `keep` all of git's own."""
    with os_errors("tidy a repository"):
        for folder, folders, files in os.walk(path):
            if ".git" in files and not keep:
                os.unlink(f"{folder}/.git")
            if ".git" in folders and not keep:
                folders.remove(".git")
                remove_tree(f"{folder}/.git")
        for name in ("logs", "FETCH_HEAD", "ORIG_HEAD") if keep else ():
            if os.path.lexists(f"{path}/.git/{name}"):
                remove_tree(f"{path}/.git/{name}")
