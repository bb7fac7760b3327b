"""The flags of `docker run`, `create` and `exec` (29.8) with their letters, those that help hides too."""

from __future__ import annotations

_BOTH = """
add-host annotation attach/a blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile
cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares/c cpus cpuset-cpus
cpuset-mems device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops
disable-content-trust dns dns-opt dns-option dns-search domainname entrypoint env/e env-file expose gpus
group-add health-cmd health-interval health-retries health-start-interval health-start-period health-timeout
hostname/h init interactive/i io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label/l label-file
link link-local-ip log-driver log-opt mac-address memory/m memory-reservation memory-swap memory-swappiness
mount name net net-alias network network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit
platform privileged publish/p publish-all/P pull quiet/q read-only restart rm runtime security-opt shm-size
stop-signal stop-timeout storage-opt sysctl tmpfs tty/t ulimit use-api-socket user/u userns uts volume/v
volume-driver volumes-from workdir/w
"""
_RUN = "detach/d detach-keys sig-proxy"
_EXEC = "detach/d detach-keys env/e env-file interactive/i privileged tty/t user/u workdir/w"


def _flags(text: str) -> dict[str, str]:
    return dict(word.partition("/")[::2] for word in text.split())


CREATE = _flags(_BOTH)
RUN = CREATE | _flags(_RUN)
EXEC = _flags(_EXEC)

_CONTAINERS, _NETWORK = "tests/containers/test_", "tests/network/test_"
ELSEWHERE = {
    "attach": f"{_CONTAINERS}run_flags.py::test_streams",
    "device-cgroup-rule": f"{_CONTAINERS}run_flags.py::test_devices_by_rule",
    "cgroupns": f"{_CONTAINERS}run_flags.py::test_namespaces_of_the_host",
    "uts": f"{_CONTAINERS}run_flags.py::test_namespaces_of_the_host",
    "ipc": f"{_CONTAINERS}run_flags.py::test_shared_memory_of_another_container",
    "pid": f"{_CONTAINERS}run_flags.py::test_processes_of_another_container",
    "detach": f"{_CONTAINERS}commands.py::test_detached",
    "detach-keys": f"{_CONTAINERS}run_flags.py::test_what_has_no_effect_is_told",
    "dns-opt": f"{_CONTAINERS}run_flags.py::test_names_and_labels",
    "dns-option": f"{_CONTAINERS}run_flags.py::test_names_and_labels",
    "dns-search": f"{_CONTAINERS}run_flags.py::test_names_and_labels",
    "label-file": f"{_CONTAINERS}run_flags.py::test_names_and_labels",
    "sysctl": f"{_CONTAINERS}run_flags.py::test_kernel_settings",
    "gpus": f"{_CONTAINERS}cdi.py::test_a_container_with_a_device",
    "health-cmd": f"{_CONTAINERS}health.py::test_states",
    "health-interval": f"{_CONTAINERS}health.py::test_states",
    "health-retries": f"{_CONTAINERS}health.py::test_states",
    "health-start-interval": f"{_CONTAINERS}health.py::test_states",
    "health-start-period": f"{_CONTAINERS}health.py::test_states",
    "health-timeout": f"{_CONTAINERS}health.py::test_a_check_that_takes_too_long_is_killed",
    "no-healthcheck": f"{_CONTAINERS}health.py::test_programs_of_the_image",
    "init": f"{_CONTAINERS}commands.py::test_init",
    "log-driver": f"{_CONTAINERS}logs.py::test_drivers_by_name",
    "log-opt": f"{_CONTAINERS}logs.py::test_a_container_with_a_limited_log",
    "platform": f"{_CONTAINERS}foreign_images.py::test_platforms",
    "restart": f"{_CONTAINERS}restart.py::test_failures_are_restarted_as_often_as_asked",
    "runtime": f"{_CONTAINERS}commands.py::test_other_runtimes",
    "security-opt": f"{_CONTAINERS}security_options.py::test_a_profile_decides",
    "sig-proxy": f"{_CONTAINERS}run_flags.py::test_signals_that_are_not_proxied",
    "stop-timeout": f"{_CONTAINERS}run_flags.py::test_the_container_says_how_long_to_wait",
    "volumes-from": f"{_CONTAINERS}run_flags.py::test_volumes_from",
    "ip": f"{_NETWORK}networks.py::test_addresses",
    "ip6": f"{_NETWORK}networks.py::test_ipv6",
    "network-alias": f"{_NETWORK}networks.py::test_names",
    "mac-address": f"{_NETWORK}bridge.py::test_what_a_container_sees",
    "publish": f"{_NETWORK}bridge.py::test_published",
    "publish-all": f"{_NETWORK}bridge.py::test_publish_all",
}
"""Tests of their own that show what a flag does."""

REFUSED = {
    "cpu-count": "1", "cpu-percent": "50", "io-maxbandwidth": "1m", "io-maxiops": "9", "link": "other",
    "link-local-ip": "169.254.3.4", "storage-opt": "size=1G", "use-api-socket": "",
    "disable-content-trust": "false", "isolation": "hyperv", "volume-driver": "nfs",
}  # fmt: skip
"""With a value that docker may take; the flag is named in the refusal."""

LIMITS = {
    "blkio-weight": ("500", "x"), "blkio-weight-device": ("/dev/null:500", "x"),
    "cgroup-parent": ("/nacre", ""),
    "cpu-period": ("100000", "x"), "cpu-quota": ("50000", "x"), "cpu-rt-period": ("1000000", "x"),
    "cpu-rt-runtime": ("9500", "x"), "cpu-shares": ("512", "x"), "cpus": ("1.5", "x"),
    "cpuset-cpus": ("0", "x"), "cpuset-mems": ("0", "x"), "device-read-bps": ("/dev/null:1m", "x"),
    "device-read-iops": ("/dev/null:9", "x"), "device-write-bps": ("/dev/null:1m", "x"),
    "device-write-iops": ("/dev/null:9", "x"), "kernel-memory": ("64m", "x"), "memory": ("64m", "x"),
    "memory-reservation": ("32m", "x"), "memory-swap": ("128m", "x"), "memory-swappiness": ("10", "x"),
    "oom-kill-disable": ("true", "x"), "pids-limit": ("99", "x"),
}  # fmt: skip
"""A value, which has an effect or a sentence that names the flag, and one that makes no sense."""

RUNS: tuple[tuple[list[str], list[str], str], ...] = (
    (["--add-host", "x:10.1.2.3"], ["grep", "\tx$", "/etc/hosts"], "10.1.2.3\tx\n"),
    (
        ["--cap-drop", "ALL", "--cap-add", "CHOWN"],
        ["grep", "CapBnd", "/proc/1/status"],
        f"CapBnd:\t{1:016x}\n",
    ),
    (["--device", "/dev/null:/dev/x"], ["sh", "-c", "test -c /dev/x && echo y"], "y\n"),
    (["--dns", "9.9.9.9", "--network=host"], ["cat", "/etc/resolv.conf"], "nameserver 9.9.9.9\n"),
    (["--domainname", "a.example"], ["cat", "/proc/sys/kernel/domainname"], "a.example\n"),
    (["--entrypoint", "echo"], ["x"], "x\n"),
    (["-e", "A=1", "--env=B=2"], ["sh", "-c", "echo $A$B"], "12\n"),
    (["--env-file", "variables"], ["sh", "-c", "echo $FILE"], "1\n"),
    (["--group-add", "extra"], ["id", "-Gn"], "root extra\n"),
    (["-h", "one", "--hostname", "box"], ["hostname"], "box\n"),
    (["-i"], ["cat"], "in"),
    (["--mount", "type=tmpfs,target=/m"], ["sh", "-c", "grep -c ' /m tmpfs' /proc/mounts"], "1\n"),
    (["--net", "none"], ["ls", "/sys/class/net"], "lo\n"),
    (["--network", "none"], ["ls", "/sys/class/net"], "lo\n"),
    (["--oom-score-adj", "500"], ["cat", "/proc/1/oom_score_adj"], "500\n"),
    (["--privileged", "--network=host"], ["grep", "Seccomp:", "/proc/1/status"], "Seccomp:\t0\n"),
    (["--pull", "never", "-q"], ["echo", "x"], "x\n"),
    (["--read-only"], ["sh", "-c", "for f in /x /etc/hosts; do (: >> $f) || echo no; done"], "no\nno\n"),
    (["--shm-size", "1m"], ["sh", "-c", "grep -c ' /dev/shm .*size=1024k' /proc/mounts"], "1\n"),
    (["--tmpfs", "/m"], ["sh", "-c", "grep -c ' /m tmpfs' /proc/mounts"], "1\n"),
    (["-t"], ["echo", "x"], "x\r\n"),
    (["--ulimit", "nofile=77"], ["sh", "-c", "ulimit -n"], "77\n"),
    (["-u", "1000"], ["id", "-u"], "1000\n"),
    (["--userns", "host"], ["echo", "x"], "x\n"),
    (["-v", "data:/v"], ["sh", "-c", "grep -c ' /v ' /proc/mounts"], "1\n"),
    (["-w", "/srv"], ["pwd"], "/srv\n"),
)
"""Flags, a command and what it says."""

EXECS: tuple[tuple[list[str], list[str], str], ...] = (
    (["-e", "A=1", "--env=B=2"], ["sh", "-c", "echo $A$B"], "12\n"),
    (["--env-file", "variables"], ["sh", "-c", "echo $FILE"], "1\n"),
    (["-i"], ["cat"], "in"),
    (["--privileged"], ["grep", "Seccomp:", "/proc/self/status"], "Seccomp:\t0\n"),
    (["-t"], ["echo", "x"], "x\r\n"),
    (["-u", "1000"], ["id", "-u"], "1000\n"),
    (["-w", "/srv"], ["pwd"], "/srv\n"),
    (["-d"], ["true"], ""),
    (["--detach-keys", "ctrl-x"], ["echo", "x"], "x\n"),
)

SHOWN: tuple[tuple[list[str], str, str], ...] = (
    (["--name", "box"], "{{.Name}}", "/box"),
    (["-l", "a=1", "--label", "b"], "{{json .Config.Labels}}", '{"a":"1","b":""}'),
    (["--expose", "80"], "{{json .Config.ExposedPorts}}", '{"80/tcp":{}}'),
    (["--annotation", "a=b"], "{{json .HostConfig.Annotations}}", '{"a":"b"}'),
    (["--stop-signal", "USR1"], "{{.Config.StopSignal}}", "USR1"),
    (["--rm"], "{{.HostConfig.AutoRemove}}", "true"),
    (["--cidfile", "id"], "{{len .Id}}", "64"),
    (["--net-alias", "x", "--net", "web"], "{{json .NetworkSettings.Networks.web.Aliases}}", '["x"]'),
)
"""Flags of `create`, a template for `inspect` and what it says."""
