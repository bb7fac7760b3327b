"""System calls that Python lacks, each a few lines over one `syscall(2)`, and their constants.

Every wrapper raises OSError with the kernel's errno. Descriptors returned are close-on-exec and
belong to the caller. Numbers are those of x86_64 and of the generic table (aarch64, riscv64,
loongarch64); since 5.1 new calls have one number on every architecture.
Source: linux arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import os
from _struct import Struct

from . import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

CLONE_NEWTIME = 0x00000080
CLONE_FILES = 0x00000400
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_DIRSYNC = 0x80
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MNT_DETACH = 2

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000

AF_INET = 2
SOCK_DGRAM = 2

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_GET_SECCOMP = 21
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_SET_MODE_FILTER = 1

_COMMON = {
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "fspick": 433, "pidfd_open": 434, "close_range": 436, "openat2": 437,
    "pidfd_getfd": 438, "mount_setattr": 442, "landlock_create_ruleset": 444, "landlock_restrict_self": 446,
}  # fmt: skip
_X86_64 = {
    "capget": 125, "capset": 126, "pivot_root": 155, "prctl": 157, "mount": 165, "umount2": 166,
    "sethostname": 170, "setdomainname": 171, "setgroups": 116, "setresuid": 117, "setresgid": 119,
    "socket": 41, "keyctl": 250, "unshare": 272, "fallocate": 285, "setns": 308, "seccomp": 317,
    "statx": 332, "syncfs": 306, "bpf": 321, "fstatfs": 138, "process_vm_readv": 310, "connect": 42,
    "process_vm_writev": 311, "ptrace": 101,
    "bind": 49, "listen": 50, "epoll_ctl": 233, "setfsuid": 122, "setfsgid": 123, "personality": 135,
    "ioprio_set": 251, "sched_setattr": 314, "fchownat": 260, "fanotify_init": 300, "fanotify_mark": 301,
}  # fmt: skip
_GENERIC = {
    "umount2": 39, "mount": 40, "pivot_root": 41, "fallocate": 47, "capget": 90, "capset": 91,
    "unshare": 97, "setresuid": 147, "setresgid": 149, "setgroups": 159, "sethostname": 161,
    "setdomainname": 162, "prctl": 167, "socket": 198, "keyctl": 219, "setns": 268, "seccomp": 277,
    "bpf": 280, "statx": 291, "syncfs": 267, "fstatfs": 44, "process_vm_readv": 270, "connect": 203,
    "process_vm_writev": 271, "ptrace": 117,
    "bind": 200, "listen": 201, "epoll_ctl": 21, "setfsuid": 151, "setfsgid": 152, "personality": 92,
    "ioprio_set": 30, "sched_setattr": 274, "fchownat": 54, "fanotify_init": 262, "fanotify_mark": 263,
}  # fmt: skip

MACHINE = os.uname().machine
_NR = _COMMON | (_X86_64 if MACHINE == "x86_64" else _GENERIC)
_PROC_PIECE = 1 << 14
_MALLOPT = ((-1, 64 << 20), (-2, 4 << 20), (-3, 32 << 20))
"""M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD (malloc.h)."""

_long = libc.c_long
_libc_syscall = libc.function("syscall")


def _syscall(name: str, *args: int | bytes | Any | None) -> int:
    """Call `name`; integers pass as longs, bytes and None as pointers. Raises OSError."""
    result: int = _libc_syscall(_long(_NR[name]), *[_long(a) if type(a) is int else a for a in args])
    if result == -1:
        code = libc.get_errno()
        raise OSError(code, f"{os.strerror(code)} ({name})")
    return result


_OPEN_HOW = Struct("=QQQ")
_EAGAIN, _EFAULT = 11, 14
_KEEP_SIZE, _PUNCH_HOLE = 1, 2


def openat2(dir_fd: int, path: bytes | str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` from `dir_fd` under the RESOLVE_* rules; O_CLOEXEC is always added.

    `mode` counts only with O_CREAT or O_TMPFILE. EAGAIN means that a rename raced with the walk
    (openat2(2)), so it is tried again. The OSError carries the path as `filename`.
    """
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte")
    if not flags & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY):
        mode = 0
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode & 0o7777, resolve)
    number, size = _long(_NR["openat2"]), _long(_OPEN_HOW.size)
    for _attempt in range(128):
        fd: int = _libc_syscall(number, _long(dir_fd), name, how, size)
        if fd >= 0:
            return fd
        code = libc.get_errno()
        if code != _EAGAIN:
            break
    raise OSError(code, os.strerror(code), path)


_STATX = Struct("=I76xqI164x")
_STATX_BTIME, _STATX_MNT_ID = 0x800, 0x1000
_MNT_ID, _MNT_ID_OFFSET = Struct("=Q"), 144


def born(dir_fd: int, name: bytes) -> int:
    """When a file was made, in ns since 1970, links not followed; 0 where the file system does not say.

    With the inode number it tells a file from another that came after it. Source: statx(2). Raises OSError.
    """
    buffer = libc.create_string_buffer(_STATX.size)
    _syscall("statx", dir_fd, name, AT_SYMLINK_NOFOLLOW, _STATX_BTIME, buffer)
    mask, seconds, nanoseconds = _STATX.unpack(buffer.raw)
    return seconds * 1_000_000_000 + nanoseconds if mask & _STATX_BTIME else 0


def mount_id(fd: int) -> int:
    """The number of the mount that a descriptor is on; 0 before Linux 5.8. Raises OSError."""
    buffer = libc.create_string_buffer(_STATX.size)
    _syscall("statx", fd, b"", AT_EMPTY_PATH, _STATX_MNT_ID, buffer)
    number: int = _MNT_ID.unpack_from(buffer.raw, _MNT_ID_OFFSET)[0]
    return number


def fchownat(fd: int, uid: int, gid: int) -> None:
    """Change the owner of what a descriptor is, even an O_PATH of a link; -1 keeps. Raises OSError."""
    _syscall("fchownat", fd, b"", uid, gid, AT_EMPTY_PATH)


def fallocate(fd: int, length: int) -> None:
    """Blocks for the first `length` bytes; nothing is written instead where the file system cannot."""
    _syscall("fallocate", fd, 0, 0, length)


def mount(source: bytes | str | None, target: bytes | str, kind: str, flags: int, data: str = "") -> None:
    """mount(2). `data` above 4095 bytes is refused by the kernel: use `fsopen` for those."""
    _syscall("mount", _text(source), _text(target), _text(kind) or None, flags, _text(data) or None)


def umount(target: bytes | str, flags: int = MNT_DETACH) -> None:
    """umount2(2), lazily unless told otherwise."""
    _syscall("umount2", _text(target), flags)


def pivot_root(new: bytes | str, old: bytes | str) -> None:
    """pivot_root(2). Moves the root of *every* process in this mount namespace: unshare it first."""
    _syscall("pivot_root", _text(new), _text(old))


def unshare(flags: int) -> None:
    """unshare(2): move this process into new namespaces. Raises OSError."""
    _syscall("unshare", flags)


def pidfd_getfd(pidfd: int, number: int) -> int:
    """A duplicate of the descriptor `number` of another process. Raises OSError: ESRCH, EBADF, EPERM."""
    return _syscall("pidfd_getfd", pidfd, number, 0)


def read_proc(path: str) -> bytes:
    """All of a file in /proc, which has no size: a third of the system calls of `open`. Raises OSError."""
    fd, parts = os.open(path, os.O_RDONLY | os.O_CLOEXEC), []
    try:
        while part := os.read(fd, _PROC_PIECE):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def process_stat(pid: int) -> tuple[bytes, list[bytes]]:
    """The name of a process, which may hold anything, and what follows it: state, parent and so on.

    Raises OSError when it has ended. Source: proc_pid_stat(5).
    """
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        head, _, rest = os.read(fd, 4096).rpartition(b")")
    finally:
        os.close(fd)
    return head.partition(b"(")[2], rest.split()


def parent(pid: int) -> int:
    """The parent of a process. Raises OSError."""
    return int(process_stat(pid)[1][1])


def start_time(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 when it is gone."""
    try:
        return int(process_stat(pid)[1][19])
    except OSError:
        return 0


def fanotify_init(flags: int, event_flags: int) -> int:
    """A new group of fanotify(7). Raises OSError: EPERM without CAP_SYS_ADMIN in the first user namespace."""
    return _syscall("fanotify_init", flags, event_flags)


def fanotify_mark(group: int, flags: int, mask: int, fd: int) -> None:
    """Change what a group is told of the file `fd`. Raises OSError: EINVAL for an unknown event."""
    _syscall("fanotify_mark", group, flags, mask, fd, None)


def setns(fd: int, kinds: int = 0) -> None:
    """setns(2); `fd` is a namespace or, with `kinds` a union of CLONE_NEW*, a pidfd."""
    _syscall("setns", fd, kinds)


def sethostname(name: str) -> None:
    """Host name of this UTS namespace."""
    data = name.encode()
    _syscall("sethostname", data, len(data))


def setdomainname(name: str) -> None:
    """NIS domain name of this UTS namespace."""
    data = name.encode()
    _syscall("setdomainname", data, len(data))


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2) with numbers only."""
    return _syscall("prctl", option, arg2, arg3, arg4, arg5)


def keep_freed_memory() -> None:
    """Have the C library keep up to 64 MiB of what is freed for what is asked for next: mallopt(3).

    Else each buffer of a megabyte goes back to the kernel, and comes again as pages to be zeroed: 3 % of a
    pull. For the whole process, so for one that is ours. Does nothing where the library has no mallopt.
    """
    try:
        mallopt = libc.function("mallopt")
    except OSError:
        return
    for option, size in _MALLOPT:
        mallopt(option, size)


def file_system(fd: int) -> int:
    """The kind of file system that `fd` is on, as a number of linux/magic.h: fstatfs(2)."""
    data = libc.create_string_buffer(256)
    _syscall("fstatfs", fd, data)
    return int(Struct("@l").unpack_from(data.raw)[0])


def syncfs(fd: int) -> None:
    """Write all of the file system of `fd` to its disk: syncfs(2)."""
    _syscall("syncfs", fd)


def die_with_parent(signal: int = 9) -> None:
    """Ask for `signal` when the parent *thread* ends. Lost by exec of a set-id program."""
    prctl(PR_SET_PDEATHSIG, signal)


def close_range(first: int, last: int = 0x7FFFFFFF) -> None:
    """Close every descriptor from `first` to `last`."""
    _syscall("close_range", first, last, 0)


_CAP_HEADER = Struct("=Ii")
_CAP_DATA = Struct("=IIIIII")
_CAP_VERSION_3 = 0x20080522


def capabilities(pid: int = 0) -> tuple[int, int, int]:
    """Effective, permitted and inheritable capabilities as bit sets."""
    data = libc.create_string_buffer(_CAP_DATA.size)
    _syscall("capget", _CAP_HEADER.pack(_CAP_VERSION_3, pid), data)
    low_e, low_p, low_i, high_e, high_p, high_i = _CAP_DATA.unpack(data.raw)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Replace the three sets of this thread."""
    halves = [s & 0xFFFFFFFF for s in (effective, permitted, inheritable)]
    halves += [s >> 32 for s in (effective, permitted, inheritable)]
    _syscall("capset", _CAP_HEADER.pack(_CAP_VERSION_3, 0), _CAP_DATA.pack(*halves))


def own_files_as(uid: int, gid: int) -> None:
    """What this thread makes from now on belongs to others; it may do what it could before.

    A change from 0 takes the capabilities for files away, and they are taken back: setfsuid(2).
    """
    effective, permitted, inheritable = capabilities()
    _syscall("setfsgid", gid)
    _syscall("setfsuid", uid)
    set_capabilities(effective, permitted, inheritable)


def setgroups_raw(groups: tuple[int, ...]) -> None:
    """setgroups(2) of this thread alone."""
    _syscall("setgroups", len(groups), Struct(f"={len(groups)}I").pack(*groups) if groups else None)


def personality(persona: int) -> None:
    """The execution domain of this process: personality(2)."""
    _syscall("personality", persona)


def ioprio_set(kind: int, priority: int) -> None:
    """The I/O class and priority of this process: ioprio_set(2)."""
    _syscall("ioprio_set", 1, 0, kind << 13 | priority)


_SCHED_ATTR = Struct("=IIQiIQQQ")


def sched_setattr(policy: int, flags: int, nice: int, priority: int, times: tuple[int, int, int]) -> None:
    """How this process is scheduled; `times` are runtime, deadline and period: sched_setattr(2)."""
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, policy, flags, nice, priority, *times)
    _syscall("sched_setattr", 0, attributes, 0)


_EPOLL_EVENT = Struct("=IQ" if MACHINE == "x86_64" else "@IQ")
_EPOLL_CTL_ADD = 1


def epoll_add(instance: int, fd: int, events: int, data: int) -> None:
    """epoll_ctl(2) with data that Python's does not let one choose."""
    _syscall("epoll_ctl", instance, _EPOLL_CTL_ADD, fd, _EPOLL_EVENT.pack(events, data))


def setids_raw(uid: int, gid: int) -> None:
    """setresuid(2) and setresgid(2) of this thread alone."""
    _syscall("setresgid", gid, gid, gid)
    _syscall("setresuid", uid, uid, uid)


def seccomp_filter(program: bytes, flags: int = 0) -> int:
    """Install a classic BPF program of 8-byte instructions; a listener if `flags` ask for one.

    seccomp(2), SECCOMP_SET_MODE_FILTER.
    """
    code = libc.create_string_buffer(program)
    fprog = Struct("@HP").pack(len(program) // 8, libc.addressof(code))
    return _syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, fprog)


def landlock_create_ruleset(attributes: bytes, flags: int) -> int:
    """A descriptor of rules; with no attributes and the flag 1 the version. landlock_create_ruleset(2)."""
    return _syscall("landlock_create_ruleset", attributes or None, len(attributes), flags)


def landlock_restrict_self(rules: int) -> None:
    """This thread, and what it starts, may do only what the rules allow. landlock_restrict_self(2)."""
    _syscall("landlock_restrict_self", rules, 0)


_IOVEC = Struct("@PN")
_PTRACE_DETACH, _PTRACE_SEIZE, _PTRACE_INTERRUPT, _PTRACE_EVENT_STOP = 17, 0x4206, 0x4207, 128
_WALL, _WNOTHREAD = 0x40000000, 0x20000000
_LOOKS, _MOMENT = 5000, 0.0001
_ETIMEDOUT = 110


def process_vm_readv(pid: int, address: int, length: int) -> bytes:
    """Bytes of the memory of another process. Raises OSError, EFAULT also for fewer bytes."""
    buffer = libc.create_string_buffer(length)
    here, there = _IOVEC.pack(libc.addressof(buffer), length), _IOVEC.pack(address, length)
    if _syscall("process_vm_readv", pid, here, 1, there, 1, 0) != length:
        raise OSError(_EFAULT, os.strerror(_EFAULT))
    data: bytes = buffer.raw
    return data


def process_vm_writev(pid: int, address: int, data: bytes) -> None:
    """Write to the memory of another process. Raises OSError, EFAULT also when that is not all of it."""
    buffer = libc.create_string_buffer(data)
    here, there = _IOVEC.pack(libc.addressof(buffer), len(data)), _IOVEC.pack(address, len(data))
    if _syscall("process_vm_writev", pid, here, 1, there, 1, 0) != len(data):
        raise OSError(_EFAULT, os.strerror(_EFAULT))


def restart_call(tid: int) -> None:
    """Have a thread that waits in a system call make it once more, without a signal. Raises OSError.

    By a thread that ends soon: whom it has not let go by then the kernel does. No end is waited for, so
    nobody else misses it. Source: ptrace(2).
    """
    from time import sleep

    _syscall("ptrace", _PTRACE_SEIZE, tid, 0, 0)
    _syscall("ptrace", _PTRACE_INTERRUPT, tid, 0, 0)
    for _ in range(_LOOKS):
        stopped = os.waitid(os.P_PID, tid, os.WSTOPPED | os.WNOHANG | _WALL | _WNOTHREAD)
        if stopped:
            number, event = stopped.si_status & 0x7F, stopped.si_status >> 8
            _syscall("ptrace", _PTRACE_DETACH, tid, 0, 0 if event == _PTRACE_EVENT_STOP else number)
            return
        sleep(_MOMENT)
    raise OSError(_ETIMEDOUT, os.strerror(_ETIMEDOUT))


def connect(fd: int, address: bytes) -> None:
    """connect(2) with an address in the kernel's form. Raises OSError."""
    _syscall("connect", fd, address, len(address))


def bind(fd: int, address: bytes) -> None:
    """bind(2) with an address in the kernel's form. Raises OSError."""
    _syscall("bind", fd, address, len(address))


def listen(fd: int, backlog: int) -> None:
    """listen(2) with a number that may wait. Raises OSError."""
    _syscall("listen", fd, backlog)


_BPF_LOAD = Struct("@IIPPIIPII16sII")
_BPF_ATTACH = Struct("@IIII")
_BPF_PROG_LOAD, _BPF_PROG_ATTACH = 5, 8
_BPF_PROG_TYPE_CGROUP_DEVICE, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI = 15, 6, 2


def attach_to_cgroup(group: int, program: bytes) -> None:
    """Have an eBPF program decide on devices in a control group of version 2, with all those above it.

    It goes when the group goes. Source: bpf(2). Raises OSError.
    """
    code, words = libc.create_string_buffer(program), libc.create_string_buffer(b"GPL\0")
    fd = _bpf(_BPF_PROG_LOAD, _BPF_LOAD.pack(
        _BPF_PROG_TYPE_CGROUP_DEVICE, len(program) // 8, libc.addressof(code), libc.addressof(words),
        0, 0, 0, 0, 0, b"nacre_devices", 0, _BPF_CGROUP_DEVICE,
    ))  # fmt: skip
    try:
        _bpf(_BPF_PROG_ATTACH, _BPF_ATTACH.pack(group, fd, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI))
    finally:
        os.close(fd)


def _bpf(command: int, attributes: bytes) -> int:
    return _syscall("bpf", command, attributes, len(attributes))


def socket(family: int, kind: int) -> int:
    """socket(2), close-on-exec; without the import of the module."""
    return _syscall("socket", family, kind | os.O_CLOEXEC, 0)


def fsopen(kind: str) -> int:
    """A new file system context."""
    return _syscall("fsopen", kind.encode(), FSOPEN_CLOEXEC)


def fsconfig(fd: int, key: str, value: str | bytes) -> None:
    """Set a string option of a context; at most 255 bytes (use `/proc/self/fd/N` for longer paths)."""
    _syscall("fsconfig", fd, FSCONFIG_SET_STRING, key.encode(), _text(value), 0)


def fsconfig_flag(fd: int, key: str) -> None:
    """Set an option that has no value."""
    _syscall("fsconfig", fd, FSCONFIG_SET_FLAG, key.encode(), None, 0)


def fsconfig_fd(fd: int, key: str, value: int) -> None:
    """Set an option whose value is an open descriptor (overlay's `lowerdir+` since 6.13)."""
    _syscall("fsconfig", fd, FSCONFIG_SET_FD, key.encode(), None, value)


def fscreate(fd: int) -> None:
    """Create the file system that a context describes. The kernel's own words: `fs_messages`."""
    _syscall("fsconfig", fd, FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attributes: int = 0) -> int:
    """A detached mount (MOUNT_ATTR_*) of a created context."""
    return _syscall("fsmount", fd, FSMOUNT_CLOEXEC, attributes)


def fs_messages(fd: int) -> list[str]:
    """What the kernel has to say about a failed context, oldest first (`e overlay: …`)."""
    messages = []
    while True:
        try:
            messages.append(os.read(fd, 4096).decode(errors="replace").strip())
        except OSError:
            return messages


def open_tree(dir_fd: int, path: bytes | str, flags: int = 0) -> int:
    """A descriptor of a mount; with OPEN_TREE_CLONE a detached copy (a bind mount without a target)."""
    return _syscall("open_tree", dir_fd, _text(path), flags | OPEN_TREE_CLOEXEC)


def move_mount(from_fd: int, to_dir_fd: int, to_path: bytes | str = b"") -> None:
    """Attach the mount `from_fd` at `to_path` from `to_dir_fd`, or at that descriptor itself."""
    name = _text(to_path) or b""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if name else MOVE_MOUNT_T_EMPTY_PATH)
    _syscall("move_mount", from_fd, b"", to_dir_fd, name, flags)


_MOUNT_ATTR = Struct("=QQQQ")


def mount_setattr(
    fd: int, path: bytes | str = b"", *, add: int = 0, remove: int = 0, propagation: int = 0, flags: int = 0
) -> None:
    """Change MOUNT_ATTR_* and propagation of a mount (AT_RECURSIVE in `flags`: of all beneath)."""
    name = _text(path) or b""
    attr = _MOUNT_ATTR.pack(add, remove, propagation, 0)
    _syscall("mount_setattr", fd, name, flags | (0 if name else AT_EMPTY_PATH), attr, len(attr))


def mount_idmap(fd: int, userns: int, flags: int = 0) -> None:
    """Map the owners of files on a detached mount by a user namespace; `flags` as for `mount_setattr`."""
    attr = _MOUNT_ATTR.pack(MOUNT_ATTR_IDMAP, 0, 0, userns)
    _syscall("mount_setattr", fd, b"", flags | AT_EMPTY_PATH, attr, len(attr))


def punch_hole(fd: int, start: int, length: int) -> None:
    """Give back what a file has there; it then reads as zeros, its length stays. Raises OSError."""
    _syscall("fallocate", fd, _PUNCH_HOLE | _KEEP_SIZE, start, length)


def keyctl_join_session() -> None:
    """A new, anonymous session keyring, so that the caller's keys stay behind. Absence is fine."""
    try:
        _syscall("keyctl", 1, None)
    except OSError:
        return


def _text(value: bytes | str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)
