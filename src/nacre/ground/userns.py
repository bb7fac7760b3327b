"""Becoming root of a user namespace, so that mounting and changing owners work without root.

With a range in /etc/subuid and /etc/subgid and the set-id helpers newuidmap and newgidmap, ids
0…N of the namespace are the user's own id and that range. Without them only id 0 exists inside and
is the user itself (`Mapping.single`): everything works but giving a file to somebody else.
Source: user_namespaces(7), subuid(5), newuidmap(1).
"""

from __future__ import annotations

import os

from ..words.errors import SandboxError, Unsupported
from ..words.lines import lines
from ..words.value import Value
from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from typing import Any

    from .fork import Child, ChildReport, Work

_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID, _CAP_SYS_ADMIN = 1 << 0, 1 << 6, 1 << 7, 1 << 21
_RESTRICTED = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_MAX_FILE = 1 << 20
_NOBODY = 65534  # what the kernel shows for an id that is not mapped, user_namespaces(7)

Range = tuple[int, int, int]


class Mapping(Value):
    """Which ids exist. A range is (first id inside, first id outside, count).

    `single`: only one id is mapped, chown to any other fails. `entered` is False when nothing had
    to be done because the process could mount and chown already, or when nothing could be done: then
    `denied` says why.
    """

    single: bool
    uids: tuple[Range, ...] = ()
    gids: tuple[Range, ...] = ()
    entered: bool = True
    denied: str = ""


def mapped() -> bool:
    """Whether this process may mount and chown: user id 0 with CAP_SYS_ADMIN in its namespace."""
    return os.geteuid() == 0 and bool(linux.capabilities()[0] & _CAP_SYS_ADMIN)


def rights() -> str:
    """What this process may do, in short: its capabilities, and whether system calls are filtered."""
    return f"{linux.capabilities()[0]:x}-{linux.prctl(linux.PR_GET_SECCOMP)}"


def is_first() -> bool:
    """Whether this is the first user namespace: its number is fixed (linux/proc_ns.h, PROC_USER_INIT_INO)."""
    return os.readlink("/proc/self/ns/user") == f"user:[{0xEFFFFFFD}]"


def current() -> Mapping:
    """The mapping of the namespace this process is in."""
    uids, gids = _read_map("/proc/self/uid_map"), _read_map("/proc/self/gid_map")
    single = sum(count for _, _, count in uids) == 1
    return Mapping(single, uids, gids, entered=False)


def is_single(pid: int) -> bool:
    """Whether only one id is mapped where a process is."""
    return sum(count for _, _, count in _read_map(f"/proc/{pid}/uid_map")) == 1


def shares(pid: int) -> bool:
    """Whether a process is in the user namespace that we are in. Raises OSError."""
    return os.path.samestat(os.stat(f"/proc/{pid}/ns/user"), os.stat("/proc/self/ns/user"))


def attempt() -> Mapping:
    """As `enter`, but where that is not allowed the process stays as it is, and `denied` says why.

    An ordinary user can then give files to nobody, and root to everybody if it has CAP_CHOWN.
    """
    try:
        return enter()
    except Unsupported as error:
        here, able = current(), os.geteuid() == 0 and linux.capabilities()[0] & _CAP_CHOWN
        return here.replace(single=here.single or not able, denied=error.message)


def expected() -> Mapping | None:
    """What `enter` would map for this process; None where nothing is to be done because it is inside.

    With it, a process that stays outside can read the ids that it sees on files as those inside do.
    """
    if mapped() or os.geteuid() == 0:
        return None
    user = os.geteuid(), os.getegid()
    if user not in _expected:
        ranges = _ranges(user[0]) or ([], [])
        uids, gids = _triples(user[0], ranges[0]), _triples(user[1], ranges[1])
        _expected[user] = Mapping(not ranges[0], uids, gids, entered=False)
    return _expected[user]


_expected: dict[tuple[int, int], Mapping] = {}


def inside(ranges: tuple[Range, ...], number: int) -> int:
    """The id in the namespace that `number` outside of it is; 65534 for one that is not mapped."""
    for first, outside, count in ranges:
        if outside <= number < outside + count:
            return first + number - outside
    return _NOBODY


def join(pidfd: int) -> Mapping:
    """As `enter`, of the user namespace that a process has, whose owner we are. Raises SandboxError."""
    try:
        linux.setns(pidfd, linux.CLONE_NEWUSER)
        linux.unshare(linux.CLONE_NEWNS)
    except OSError as error:
        raise SandboxError(f"cannot join the user namespace of a container: {error.strerror}") from None
    return current().replace(entered=True)


def enter() -> Mapping:
    """Become root of a new user and mount namespace; does nothing when already `mapped`.

    The process must have a single thread, or the kernel refuses. Not reversible. Raises Unsupported
    when this system does not let an ordinary user make user namespaces.
    """
    if mapped():
        return current()
    uid, gid = os.geteuid(), os.getegid()
    _check_restriction()
    if uid == 0 and _can_map_all():
        return _enter_with_all()
    ranges = _ranges(uid)
    if ranges and _enter_with_ranges(uid, gid, *ranges):
        return Mapping(False, _triples(uid, ranges[0]), _triples(gid, ranges[1]))
    if not mapped():
        _unshare()
        _map_self(uid, gid)
    return Mapping(True, ((0, uid, 1),), ((0, gid, 1),))


def call(
    function: Callable[..., Any], *args: Any, meanwhile: Callable[[], object] | None = None, beside: int = -1
) -> Any:
    """Run `function(*args)` in a forked child that has entered the namespace, if it can; returns its result.

    `meanwhile()` is called here while the child works. `beside` as for `join`, if it is a descriptor.

    Arguments are inherited by the fork, the result must be picklable. A NacreError raised there is
    raised here as the same class with the same data; anything else becomes a SandboxError.
    """

    def entered() -> Any:
        if beside >= 0:
            join(beside)
        else:
            attempt()
        return function(*args)

    return apart(entered, meanwhile)


def apart(function: Callable[[], Any], meanwhile: Callable[[], object] | None = None) -> Any:
    """As `call`, but the child enters nothing by itself. What `function` enters, this process does not."""
    import pickle

    from .fork import RAISING

    def work(report: ChildReport) -> None:
        linux.die_with_parent()
        try:
            report.tell(pickle.dumps(function()))
        except OSError as error:
            raise SandboxError(f"{type(error).__name__}: {error}") from None

    with _forked(work, "the process working in the user namespace", keep=None, signals=RAISING) as child:
        try:
            if meanwhile:
                meanwhile()
            (answer,) = child.answer()
        except BaseException:  # ctrl-C, or whatever else the caller's handlers raise: tidied up all the same
            child.ask_to_end()
            raise
        child.wait()
        return pickle.loads(answer)  # from our own child


def _forked(work: Work, what: str, keep: Iterable[int] | None = (), signals: str = "default") -> Child:
    from .fork import fork

    try:
        return fork(work, what=what, keep=keep, signals=signals)
    except OSError as error:
        raise SandboxError(f"cannot start another process: {error.strerror}") from None


def opened(function: Callable[[], int]) -> int:
    """The descriptor that `function` opens in a forked child, as `call`; the caller closes it.

    For files that only an owner inside may read. Raises OSError as `function` did, and as `call`.
    """
    import socket

    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = call(_hand_over, theirs, function)
        if number:
            raise OSError(number, os.strerror(number))
        fd: int = socket.recv_fds(ours, 1, 1, socket.MSG_CMSG_CLOEXEC)[1][0]
        return fd


def _hand_over(channel: socket.socket, function: Callable[[], int]) -> int:
    import socket

    try:
        socket.send_fds(channel, [b"."], [function()])
    except OSError as error:
        return error.errno or 5
    return 0


def _unshare() -> None:
    try:
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
    except OSError as error:
        raise _refused(error.strerror) from None


def _refused(why: str | None) -> Unsupported:
    return Unsupported(
        f"this system does not let user {os.geteuid()} create a user namespace: {why}",
        hint="see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone "
        "and kernel.apparmor_restrict_unprivileged_userns, or run as root",
    )


def _map_self(uid: int, gid: int) -> None:
    """Map only ourselves. setgroups must be denied first (user_namespaces(7), CVE-2014-8989)."""
    try:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    except OSError as error:
        raise Unsupported(f"cannot map user {uid} into a user namespace: {error.strerror}") from None


def _enter_with_ranges(uid: int, gid: int, uids: list[Range], gids: list[Range]) -> bool:
    """Map the ranges by the set-id helpers. False when they failed; then only we are mapped.

    One each for users and groups, side by side.
    """
    statuses = _unshare_beside(
        _program("newuidmap", [(0, uid, 1), *uids]), _program("newgidmap", [(0, gid, 1), *gids])
    )
    if not any(statuses):
        return True
    if statuses[0] and statuses[1]:
        _map_self(uid, gid)
        return False
    raise Unsupported(
        "newuidmap or newgidmap failed",
        hint="/etc/subuid and /etc/subgid must both hold a range for this user",
    )


def _check_restriction() -> None:
    """Whether a namespace is worth having, found out by a child, as there is no way back.

    AppArmor may allow one in which nothing is allowed (kernel.apparmor_restrict_unprivileged_userns), and
    root keeps its devices where it is, unless it can mount in there. Raises Unsupported.
    """
    if os.geteuid() and _read(_RESTRICTED).strip() != "1":
        return
    with _forked(_try_to_mount, "the process that tries a user namespace") as child:
        try:
            child.answer()
        except (OSError, Unsupported):
            raise _refused("mounts are not permitted in it") from None
        child.wait()


def _try_to_mount(report: ChildReport) -> None:
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
    _map_self(uid, gid)
    linux.mount(None, "/", "", linux.MS_REC | linux.MS_SLAVE)
    report.tell(True)


def _can_map_all() -> bool:
    wanted = _CAP_SETUID | _CAP_SETGID
    return linux.capabilities()[0] & wanted == wanted


def _enter_with_all() -> Mapping:
    """Root without CAP_SYS_ADMIN keeps all its ids: a helper that stays outside may map them as they are."""
    here = current()
    maps = [[(first, first, count) for first, _, count in ranges] for ranges in (here.uids, here.gids)]
    if any(_unshare_beside(_mapper(tuple(maps[0]), tuple(maps[1])))):
        raise _refused("its ids cannot be mapped")
    return Mapping(here.single, tuple(maps[0]), tuple(maps[1]))


def make(uids: tuple[Range, ...], gids: tuple[Range, ...]) -> None:
    """Move this process, which has one thread, into a new user namespace with these ids, and become its root.

    By root, or with newuidmap and newgidmap; an ordinary user needs neither for one id, their own. Raises
    SandboxError.
    """
    ids = os.geteuid(), os.getegid()
    if not linux.capabilities()[0] & _CAP_SETUID and (uids, gids) == (((0, ids[0], 1),), ((0, ids[1], 1),)):
        _unshare()
        return _map_self(*ids)
    if linux.capabilities()[0] & _CAP_SETUID:
        statuses = _unshare_beside(_mapper(uids, gids))
    else:
        statuses = _unshare_beside(_program("newuidmap", list(uids)), _program("newgidmap", list(gids)))
    if any(statuses):
        raise SandboxError("the ids of the user namespace cannot be mapped: they are not ours to give")
    become_root()
    return None


def become_root() -> None:
    """Of the new namespace; without an id 0 in there, everything is done as nobody with all rights."""
    try:
        linux.setgroups_raw(())
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    except OSError:
        return


def _mapper(uids: tuple[Range, ...], gids: tuple[Range, ...]) -> Callable[[], None]:
    """Maps the ids of our parent."""
    parent = os.getpid()

    def work() -> None:
        for kind, extents in (("uid", uids), ("gid", gids)):
            text = "".join(f"{first} {outside} {count}\n" for first, outside, count in extents)
            _write(f"/proc/{parent}/{kind}_map", text)

    return work


def _unshare_beside(*works: Callable[[], object]) -> list[int | None]:
    """Make the namespace, then let each work be done in a child that stayed outside; statuses, 0 for success.

    The children are forked before, and wait for a byte.
    """
    ready, go = os.pipe2(os.O_CLOEXEC)

    def waiting(work: Callable[[], object]) -> Work:
        def begin(_report: ChildReport) -> None:
            if os.read(ready, 1):
                work()

        return begin

    children: list[Child] = []
    try:
        for work in works:
            children.append(_forked(waiting(work), "a process that maps ids", keep=(ready,)))
        _unshare()
        os.write(go, b"." * len(works))
    finally:
        os.close(go)
        os.close(ready)
        for child in children:
            child.wait()
            child.close()
    return [child.status for child in children]


def _program(program: str, ranges: list[Range]) -> Callable[[], None]:
    """Becomes a set-id helper that maps our parent."""
    parent = os.getpid()

    def work() -> None:
        numbers = [str(number) for extent in ranges for number in extent]
        _exec(program, [program, str(parent), *numbers])
        raise FileNotFoundError(2, "not installed", program)

    return work


def _exec(program: str, argv: list[str]) -> None:
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/run/wrappers/bin", "/usr/local/bin"):
        try:
            os.execve(f"{folder}/{program}", argv, {"PATH": "/usr/bin:/bin"})
        except OSError:
            continue


def _ranges(uid: int) -> tuple[list[Range], list[Range]] | None:
    """The subordinate ranges as mapped from id 1 up, or None when either file has none for us."""
    name = _user_name(uid)
    uids = _subordinate("/etc/subuid", uid, name)
    gids = _subordinate("/etc/subgid", uid, name)
    return (uids, gids) if uids and gids else None


def _subordinate(path: str, uid: int, name: str) -> list[Range]:
    """Extents `name:first:count` of subuid(5) for a user given by name or number."""
    inside, extents = 1, []
    for line in lines(_read(path)):
        owner, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if owner in (name, str(uid)) and owner and first.isdecimal() and count.strip().isdecimal():
            extents.append((inside, int(first), int(count)))
            inside += int(count)
    return extents


def ranges_of(path: str, owner: str) -> list[tuple[int, int]]:
    """First ids and counts of a user that may only be a name, in /etc/subuid or /etc/subgid."""
    return [extent[1:] for extent in _subordinate(path, -1, owner)]


def _user_name(uid: int) -> str:
    """Our login name. `pwd` asks NSS, so users of LDAP are found as well."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _triples(own: int, ranges: list[Range]) -> tuple[Range, ...]:
    return ((0, own, 1), *ranges)


def _read_map(path: str) -> tuple[Range, ...]:
    numbers = [int(word) for word in _proc(path).split()]
    return tuple(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))


def _proc(path: str) -> bytes:
    try:
        return linux.read_proc(path)
    except OSError:
        return b""


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(fd, _MAX_FILE).decode(errors="replace")
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
