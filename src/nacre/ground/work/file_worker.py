"""A process that makes files for an extraction at work elsewhere. Run as a script, by files.py only.

It imports nothing of nacre and next to nothing of Python, so that it is there within ten milliseconds, and it
decides nothing: every folder comes as a descriptor, every name is a single part that is never followed, and
what is there already is reported, not touched.

    standard input    a Unix socket of packets: work (with descriptors of folders) in, reports out
    standard output   memory shared with the extraction, which holds the contents

work      marshal of (slot, jobs); report  marshal of (slot, failures, bytes that were shared)
job       (folder, name, size, uid, gid, mode, mtime_ns, at, twin)
          `folder` and `twin` count the descriptors that came along; uid -1: leave the owner; `at`: where in
          the memory the content begins; twin -1: none, else a folder that has an equal file of this name
failure   (number of the job, errno)
"""

import _socket
import array
import marshal
import mmap
import os

Job = tuple[int, bytes, int, int, int, int, int, int, int]

MAX_FOLDERS = 32
"""Most descriptors with one packet: the kernel counts those on the way against RLIMIT_NOFILE (unix(7))."""
MAX_PACKET = 1 << 17
"""Most bytes of a packet."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OF_THE_HOST = {"security.selinux", "security.ima", "security.evm", "security.apparmor", "security.SMACK64"}


def serve(channel: "_socket.socket", memory: mmap.mmap) -> None:
    """Work until the other end closes."""
    channel.send(b"here")
    parent = os.getppid()
    room = _socket.CMSG_SPACE(MAX_FOLDERS * 4)
    while packet := channel.recvmsg(MAX_PACKET, room, _socket.MSG_CMSG_CLOEXEC):
        if not packet[0] or os.getppid() != parent:
            return  # what was left to do when the extraction died is for nobody
        folders = array.array("i")
        for _level, _kind, data in packet[1]:
            folders.frombytes(data)
        slot, jobs = marshal.loads(packet[0])
        channel.send(marshal.dumps((slot, *_all(jobs, folders, memory))))
        for fd in folders:
            os.close(fd)


def _all(
    jobs: list[Job], folders: "array.array[int]", memory: mmap.mmap
) -> tuple[list[tuple[int, int]], int]:
    failures, shared = [], 0
    with memoryview(memory) as view:
        for number, job in enumerate(jobs):
            try:
                shared += _one(job, folders, view)
            except OSError as error:
                failures.append((number, error.errno or 5))
    return failures, shared


def _one(job: Job, folders: "array.array[int]", view: memoryview) -> int:
    """Make one file; the bytes that it shares with its twin."""
    at, name, size, uid, gid, mode, mtime_ns, start, twin = job
    content = view[start : start + size]
    if twin >= 0 and same(folders[twin], name, content) and link(folders[twin], folders[at], name):
        return size
    fd = os.open(name, _NEW, 0o600, dir_fd=folders[at])
    try:
        while content:
            content = content[os.write(fd, content) :]
        if uid >= 0:
            os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(fd)
    return 0


def same(folder: int, name: bytes, content: memoryview) -> bool:
    """Whether the file holds exactly `content` and has no attributes of its own."""
    try:
        fd = os.open(name, OLD, dir_fd=folder)
    except OSError:
        return False
    try:
        return bare(fd) and os.pread(fd, len(content) + 1, 0) == bytes(content)
    except OSError:
        return False
    finally:
        os.close(fd)


def bare(fd: int) -> bool:
    """Whether an open file has no attributes but those of the machine. Raises OSError."""
    return _OF_THE_HOST.issuperset(os.listxattr(fd))


def link(folder: int, into: int, name: bytes) -> bool:
    """Link the file of one folder into another. False where that cannot be: EMLINK, EXDEV, EPERM, …"""
    try:
        os.link(name, name, src_dir_fd=folder, dst_dir_fd=into, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def main() -> None:
    """Everything that is here came from the parent: the channel as 0, the memory as 1."""
    os.umask(0o077)
    channel = _socket.socket(fileno=0)
    serve(channel, mmap.mmap(1, 0))
    os._exit(0)


if __name__ == "__main__":
    main()
