"""Who a process is, and what it may become: the rules of setuid(2) and its like, without a kernel.

Source: credentials(7), setuid(2), setreuid(2), setresuid(2), setfsuid(2), setgroups(2).
"""

from __future__ import annotations

from errno import EINVAL, EPERM

from ...words.value import Value

UNCHANGED = (1 << 32) - 1
"""-1, as the kernel gets it."""


class Ids(Value):
    """The four numbers of a user, or of a group."""

    real: int = 0
    effective: int = 0
    saved: int = 0
    files: int = 0

    def to(self, number: int, *, free: bool) -> Ids:
        """setuid(2); `free`: whoever asks may become anybody. Raises OSError."""
        if number == UNCHANGED:
            raise OSError(EINVAL, "not an id")
        if free:
            return Ids(number, number, number, number)
        _check(number, (self.real, self.saved))
        return self.replace(effective=number, files=number)

    def to_both(self, real: int, effective: int, *, free: bool) -> Ids:
        """As setreuid(2) does. Raises OSError."""
        if not free:
            _check(real, (self.real, self.effective, UNCHANGED))
            _check(effective, (self.real, self.effective, self.saved, UNCHANGED))
        new = _or(effective, self.effective)
        saves = real != UNCHANGED or (effective != UNCHANGED and effective != self.real)
        return Ids(_or(real, self.real), new, new if saves else self.saved, new)

    def to_three(self, real: int, effective: int, saved: int, *, free: bool) -> Ids:
        """As setresuid(2) does. Raises OSError."""
        for number in () if free else (real, effective, saved):
            _check(number, (self.real, self.effective, self.saved, UNCHANGED))
        new = _or(effective, self.effective)
        return Ids(_or(real, self.real), new, _or(saved, self.saved), new)

    def for_files(self, number: int, *, free: bool) -> Ids:
        """setfsuid(2), which does not say whether it did anything."""
        allowed = free or number in self._astuple()
        return self.replace(files=number) if allowed and number != UNCHANGED else self


class ProcessIds(Value):
    """A process. `groups` None: the kernel's answer, as long as nobody has set them."""

    user: Ids = Ids()
    group: Ids = Ids()
    groups: tuple[int, ...] | None = None

    @property
    def is_root(self) -> bool:
        """Whether it may become anybody, and give files away."""
        return not self.user.effective

    def in_groups(self, groups: tuple[int, ...]) -> ProcessIds:
        """As setgroups(2) does. Raises OSError."""
        if not self.is_root:
            raise OSError(EPERM, "only root may")
        return self.replace(groups=groups)

    def may_give(self, uid: int, gid: int) -> bool:
        """Whether chown(2) is allowed, for a file of its own; 4294967295 is what stays."""
        own = self.group.files, *(self.groups or ()), UNCHANGED
        return self.is_root or (uid in (self.user.files, UNCHANGED) and gid in own)


ROOT = ProcessIds()


def _check(number: int, allowed: tuple[int, ...]) -> None:
    if number not in allowed:
        raise OSError(EPERM, "only root may")


def _or(number: int, otherwise: int) -> int:
    return otherwise if number == UNCHANGED else number
