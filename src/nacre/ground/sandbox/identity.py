"""Operations that turn the child into the program: who it is, what it may do, where it stands."""

from __future__ import annotations

import os
import stat

from ...words.errors import CommandNotExecutable, CommandNotFound, ExecFormatError, SandboxError
from .. import linux
from .capabilities import CAP_SYS_ADMIN
from .room import Operation, Room
from .users import User, resolve

_ENOENT, _EACCES, _ENOEXEC, _ENOTDIR, _EPERM, _EINVAL, _ELOOP = 2, 13, 8, 20, 1, 22, 40
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIOCSCTTY = 0x540E
_LAST_CAPABILITY = 40


class Account(Operation):
    """Find out who the program is to be, in the container's own files.

    `text` is `user[:group]`, `groups` are more of them; `known` is used instead when the ids are given as
    numbers already.
    """

    text: str = ""
    known: User | None = None
    groups: tuple[str, ...] = ()

    def apply(self, room: Room) -> None:  # noqa: D102
        room.user = self.known or resolve(room.root, self.text, self.groups)

    def __str__(self) -> str:
        return f"user {self.known or self.text or 'root'}"


class WorkingFolder(Operation):
    """Enter the working folder, made if absent unless `existing`, and prove that it is inside the container.

    All descriptors of the host are closed by now; `getcwd` fails for a folder that cannot be reached
    from the root (runc CVE-2024-21626).
    """

    path: str
    existing: bool = False

    def apply(self, room: Room) -> None:  # noqa: D102
        fd = self._found(room) if self.existing else room.make_folders(self.path)
        try:
            os.fchdir(fd)
            if not os.getcwd().startswith("/"):
                raise FileNotFoundError(_ENOENT, "outside of the container")
        except OSError as error:
            raise SandboxError(f"cannot enter working directory {self.path}: {error.strerror}") from None
        finally:
            os.close(fd)

    def _found(self, room: Room) -> int:
        """As docker's runtime says it, whose exec makes nothing."""
        try:
            return room.open(self.path, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            raise CommandNotFound(
                "OCI runtime exec failed: exec failed: unable to start container process: "
                f'chdir to cwd ("{self.path}") failed: {(error.strerror or "").lower()}'
            ) from None

    def __str__(self) -> str:
        return f"working directory {self.path}"


class NewSession(Operation):
    """A session of one's own, with the pseudo terminal as its controlling terminal if there is one.

    `owned` descriptors were made for this container and are given to its user, so that opening
    /dev/stdout again works.
    """

    owned: tuple[int, ...] = ()

    def apply(self, room: Room) -> None:  # noqa: D102
        os.setsid()
        if room.terminal >= 0:
            import fcntl

            fcntl.ioctl(0, _TIOCSCTTY, 0)
        for fd in self.owned:
            self._give(fd, room)

    def _give(self, fd: int, room: Room) -> None:
        user = room.user or User(0, 0)
        try:
            os.fchown(fd, room.outside(user.uid), -1)
        except OSError as error:
            if error.errno not in (_EPERM, _EINVAL):
                raise

    def __str__(self) -> str:
        return "new session"


class Confine(Operation):
    """Become the user with no more than `capabilities` (a bit set) and the system call filter.

    Inheritable and ambient sets stay empty (docker CVE-2022-24769). The filter is installed before
    privileges go, since that takes CAP_SYS_ADMIN unless `no_new_privileges`. `lenient`: where the bounding
    set cannot be changed it stays, and another user is never reached by one more namespace, which cannot
    be made in a chroot. `late`: the filter may refuse what is still to be done here, so it waits for the
    exec; CAP_SYS_ADMIN is kept for it, which the exec takes away unless it is in the bounding set.
    """

    capabilities: int
    filter: bytes = b""
    no_new_privileges: bool = False
    lenient: bool = False
    late: bool = False
    flags: int = 0

    def apply(self, room: Room) -> None:  # noqa: D102
        user = room.user or User(0, 0)
        if user.uid and not self.lenient and _single_id():
            _become_by_namespace(user)
        if self.no_new_privileges:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        for number in range(_LAST_CAPABILITY + 1):
            if not self.capabilities >> number & 1:
                _drop_from_bounding(number, self.lenient)
        if self.filter and not self.late:
            linux.seccomp_filter(self.filter, self.flags)
        if self.late:
            linux.prctl(linux.PR_SET_KEEPCAPS, 1)
        _become(user, granted=room.granted)
        self._set_capabilities(user, room)

    def _set_capabilities(self, user: User, room: Room) -> None:
        permitted = linux.capabilities()[1]
        own = kept = permitted & self.capabilities if not user.uid else 0
        if self.late:
            room.filter, room.capabilities = (self.filter, self.flags), own
            kept |= 0 if self.no_new_privileges else permitted & CAP_SYS_ADMIN
        linux.set_capabilities(kept, kept, 0)

    def __str__(self) -> str:
        count = bin(self.capabilities).count("1")
        return f"{count} capabilities, {'no ' if not self.filter else ''}system call filter"


def _drop_from_bounding(number: int, lenient: bool) -> None:
    try:
        linux.prctl(linux.PR_CAPBSET_DROP, number)
    except OSError as error:
        if error.errno != _EINVAL and not lenient:  # a kernel that does not know this capability
            raise


def _single_id() -> bool:
    fd = os.open("/proc/self/uid_map", os.O_RDONLY | os.O_CLOEXEC)
    numbers = os.read(fd, 4096).split()
    os.close(fd)
    return len(numbers) == 3 and numbers[2] == b"1"


def _become_by_namespace(user: User) -> None:
    """With one id mapped, any other is reached by one more namespace that calls it so."""
    uid, gid = os.getuid(), os.getgid()
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # or the files written below belong to somebody else
    linux.unshare(linux.CLONE_NEWUSER)
    for name, text in (
        ("uid_map", f"{user.uid} {uid} 1"),
        ("setgroups", "deny"),
        ("gid_map", f"{user.gid} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, text.encode())
        os.close(fd)


def _become(user: User, *, granted: bool) -> None:
    """`granted`: it is root already, and asking would be waiting for somebody who does not listen yet."""
    if granted:
        _refuse_groups(user)
        return
    _join_groups(user)
    try:
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError:
        raise _unmapped(user) from None


def _join_groups(user: User) -> None:
    try:
        linux.setgroups_raw(user.groups or (user.gid,))
    except OSError as error:
        if error.errno != _EPERM:  # setgroups is denied where one id is mapped
            raise _unmapped(user) from None
        _refuse_groups(user)


def _refuse_groups(user: User) -> None:
    if user.strict:
        raise SandboxError("cannot add groups: only one id is mapped here", hint="add a range to /etc/subgid")


def _unmapped(user: User) -> SandboxError:
    return SandboxError(
        f"user {user.uid}:{user.gid} does not exist in this user namespace",
        hint="add a longer range for your user to /etc/subuid and /etc/subgid",
    )


class Execute(Operation):
    """Become the program. `environment` are `NAME=value`; a name in `arguments[0]` is looked up in PATH."""

    arguments: tuple[str, ...]
    environment: tuple[str, ...] = ()

    def apply(self, room: Room) -> None:  # noqa: D102
        self._run(self.find(room), room)

    def find(self, room: Room) -> str:
        """The path of the program, and its environment in `room`. Raises CommandNotFound."""
        variables = dict(item.partition("=")[::2] for item in self.environment)
        variables.setdefault("HOME", room.user.home if room.user else "/")
        room.environment = variables
        name = self.arguments[0] if self.arguments else ""
        if "/" in name:
            return name
        for folder in variables.get("PATH", _DEFAULT_PATH).split(":"):
            path = f"{folder or '.'}/{name}"
            if name and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        raise CommandNotFound(f'exec: "{name}": executable file not found in $PATH')

    def _run(self, path: str, room: Room) -> None:
        name = self.arguments[0]
        try:
            _refuse_magic(path)
            room.filter_calls()
            os.execve(path, self.arguments, room.environment)
        except OSError as error:
            if error.errno in (_ENOENT, _ENOTDIR):
                raise _missing(path, name) from None
            reason = "is a directory" if os.path.isdir(path) else (error.strerror or "").lower()
            kind = ExecFormatError if error.errno == _ENOEXEC else CommandNotExecutable
            raise kind(f'exec: "{name}": {reason}') from None

    def __str__(self) -> str:
        return f"run {' '.join(self.arguments)}"


def _missing(path: str, name: str) -> CommandNotFound:
    """ENOENT means the program, or else the interpreter that it names."""
    if os.path.exists(path):
        return CommandNotFound(f'exec: "{name}": no such file or directory: its interpreter is missing')
    return CommandNotFound(f'exec: "{name}": stat {name}: no such file or directory')


def _refuse_magic(path: str, depth: int = 4) -> None:
    """Refuse programs and `#!` interpreters that are /proc/self/exe in disguise.

    Until the exec has succeeded that link means the Python of the host, which a program started from
    it could keep open and overwrite (runc CVE-2019-5736).
    """
    fd = linux.openat2(
        linux.AT_FDCWD, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, 0, linux.RESOLVE_NO_MAGICLINKS
    ) if os.access(path, os.R_OK) else -1  # fmt: skip
    if fd < 0:
        os.close(linux.openat2(linux.AT_FDCWD, path, os.O_PATH, 0, linux.RESOLVE_NO_MAGICLINKS))
        return
    try:
        head = os.read(fd, 256) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    words = head[2:].split(b"\n", 1)[0].split() if head[:2] == b"#!" else []
    if words and depth:
        _refuse_magic(os.fsdecode(words[0]), depth - 1)
