"""Every error that nacre raises on purpose, as one tree.

    NacreError
    ├── UsageError              bad command line or bad argument of the API
    │   └── InvalidName         a reference, digest, platform or container name outside its grammar
    ├── NotFound                an image, container, blob, file, tag that is not there
    ├── Conflict                a name in use, an image in use, a container running
    ├── ContentError            bytes from outside that are not what they claim to be
    │   ├── DigestMismatch
    │   ├── TooLarge            over a declared or allowed size
    │   ├── InvalidDocument     JSON that is no manifest, index or config
    │   └── InvalidArchive      a tar or compressed stream that is damaged or hostile
    ├── DockerfileError         carries file, line, column and the offending text
    ├── BuildFailed             a RUN step that exited with a code
    ├── StoreError              the store itself: wrong version, no permission, an error of the disk
    │   ├── DiskFull            no room, or none for this user
    │   └── DamagedStore        its database is gone or unusable; `system check --repair` rebuilds it
    ├── RegistryError           an answer of a registry; carries status and code
    │   ├── Unreachable         no answer at all
    │   └── Unauthorized
    ├── Unavailable             what a registry of ours relies on (a bucket, say) does not answer for now
    ├── CacheUnusable           a cache of builds that does not give what it names
    │   └── CacheIncomplete     it never said that it would
    ├── SandboxError            the container could not be set up
    │   ├── CommandNotFound     exit code 127, as docker
    │   └── CommandNotExecutable  exit code 126, as docker
    │       └── ExecFormatError   a program for another machine, or no program
    └── Unsupported             something this machine or this version cannot do

Each carries one sentence that names the thing, and where one helps a `hint`. `exit_code` is what a
command line that ends with this error returns; the numbers are docker's. An error may be given a code of
its own (`error.exit_code = 1`), which no command replaces.
"""

from __future__ import annotations


class NacreError(Exception):
    """Base of all. `message` is one sentence without a final full stop; `hint` may be empty."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(NacreError):
    """The command line or an argument is wrong.

    1 as with docker, which ends with 125 only when an option cannot be parsed; the parser says so itself.
    """


class InvalidName(UsageError):
    """A name outside its grammar."""


class NotFound(NacreError):
    """The thing named does not exist."""


class Conflict(NacreError):
    """The thing named is in use or exists already."""


class ContentError(NacreError):
    """Bytes from outside are not what they claim to be."""


class DigestMismatch(ContentError):
    """Content does not have the digest under which it was asked for."""

    def __init__(self, expected: str, actual: str, *, what: str = "content", hint: str = "") -> None:
        super().__init__(f"{what} has digest {actual}, expected {expected}", hint=hint)
        self.expected = expected
        self.actual = actual


class TooLarge(ContentError):
    """Content exceeds its declared or allowed size."""


class InvalidDocument(ContentError):
    """JSON that is no valid manifest, index or config."""


class InvalidArchive(ContentError):
    """A tar or a compressed stream that is damaged or hostile."""


class DockerfileError(NacreError):
    """A Dockerfile that cannot be understood. Lines and columns count from 1.

    `source` is the whole line, where it is known.
    """

    source = ""

    def __init__(
        self, message: str, *, file: str, line: int, column: int = 1, text: str = "", hint: str = ""
    ) -> None:
        super().__init__(f"{file}:{line}:{column}: {message}", hint=hint)
        self.file, self.line, self.column, self.text = file, line, column, text


class BuildFailed(NacreError):
    """A step ended with a code other than 0; `code` is that of the step, `file` and `line` say which.

    `step` is its title, `output` what it wrote last. `source` are its lines in the Dockerfile and some around
    them, where they are at hand, from the line `source_line` on.
    """

    source, source_line = "", 0
    step, output = "", ""

    def __init__(
        self,
        message: str,
        *,
        code: int = 1,
        hint: str = "",
        file: str = "",
        line: int = 0,
        last_line: int = 0,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code, self.file, self.line, self.last_line = code, file, line, last_line


class StoreError(NacreError):
    """The store cannot do what it must: an error of the disk, no permission, a newer version."""


class DiskFull(StoreError):
    """No room, or no more room for this user, on the disk of the store."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or "free disk space, for example with `nacre system prune`")


class DamagedStore(StoreError):
    """The database of a store is gone or unusable while what the store holds is there."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        again = "`nacre system check --repair` rebuilds the database from the content of the store"
        super().__init__(message, hint=hint or again)


class RegistryError(NacreError):
    """A registry refused. `status` is the HTTP status, `code` the distribution error code or ''.

    `headers` are those that our own registry adds to its answer, or the `Retry-After` of one that refused.
    """

    def __init__(self, message: str, *, status: int = 0, code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status, self.code = status, code
        self.headers: dict[str, str] = {}


class Unreachable(RegistryError):
    """A registry gave no answer: name, route, refusal, time-out or TLS."""


class Unauthorized(RegistryError):
    """A registry wants other credentials."""


class Unavailable(NacreError):
    """What a registry relies on elsewhere does not answer, or not as it should; later it may."""


class CacheUnusable(NacreError):
    """A cache from elsewhere names layers that it does not give, or gives as something else."""


class CacheIncomplete(CacheUnusable):
    """A layer is needed of which a cache from elsewhere knows only what it is."""


class SandboxError(NacreError):
    """A container could not be set up."""

    exit_code = 125

    @classmethod
    def of_start(cls, what: str, error: OSError) -> SandboxError:
        """`what` cannot be started; the path that `error` has is named."""
        named = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return cls(f"cannot start {what}: {named}{error.strerror}")


class CommandNotFound(SandboxError):
    """The program to run does not exist in the container."""

    exit_code = 127


class CommandNotExecutable(SandboxError):
    """The program exists and cannot be executed."""

    exit_code = 126


class ExecFormatError(CommandNotExecutable):
    """The program is for another machine, or no program at all."""


class Unsupported(NacreError):
    """This machine, or this version of nacre, cannot do what was asked."""
