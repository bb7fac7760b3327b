"""Every field that docker prints is there, with docker's type; what is not known is docker's zero.

The lists are facts of docker's API, versions 1.48 and 1.52 (moby api/swagger.yaml and api/types), written as
`Name kind`: text, int, bool, list, map (both may be null), object, any. A `?` marks what docker leaves out
when there is none: a template may ask for it all the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nacre import __version__

if TYPE_CHECKING:
    from conftest import Nacre

CONFIG = """Hostname text Domainname text User text AttachStdin bool AttachStdout bool AttachStderr bool
    ExposedPorts? map Tty bool OpenStdin bool StdinOnce bool Env list Cmd list Healthcheck? object
    ArgsEscaped? bool Image text Volumes map WorkingDir text Entrypoint list NetworkDisabled? bool
    OnBuild list Labels map StopSignal? text StopTimeout? int Shell? list"""
IMAGE = """Id text RepoTags list RepoDigests list Parent text Comment text Created text DockerVersion text
    Author text Config object Architecture text Variant? text Os text OsVersion? text Size int
    GraphDriver object RootFS object Metadata object Descriptor? object Manifests? list Identity? object"""
CONTAINER = """Id text Created text Path text Args list State object Image text ResolvConfPath text
    HostnamePath text HostsPath text LogPath text Name text RestartCount int Driver text Platform text
    MountLabel text ProcessLabel text AppArmorProfile text ExecIDs list HostConfig object GraphDriver object
    Storage? object SizeRw? int SizeRootFs? int Mounts list Config object NetworkSettings object
    ImageManifestDescriptor? object"""
STATE = """Status text Running bool Paused bool Restarting bool OOMKilled bool Dead bool Pid int ExitCode int
    Error text StartedAt text FinishedAt text Health? object"""
HOST_CONFIG = """Binds list ContainerIDFile text LogConfig object NetworkMode text PortBindings map
    RestartPolicy object AutoRemove bool VolumeDriver text VolumesFrom list ConsoleSize list
    Annotations? map CapAdd list CapDrop list CgroupnsMode text Dns list DnsOptions list DnsSearch list
    ExtraHosts list GroupAdd list IpcMode text Cgroup text Links list OomScoreAdj int PidMode text
    Privileged bool PublishAllPorts bool ReadonlyRootfs bool SecurityOpt list StorageOpt? map Tmpfs? map
    UTSMode text UsernsMode text ShmSize int Sysctls? map Runtime? text Isolation text CpuShares int
    Memory int NanoCpus int CgroupParent text BlkioWeight int BlkioWeightDevice list
    BlkioDeviceReadBps list BlkioDeviceWriteBps list BlkioDeviceReadIOps list BlkioDeviceWriteIOps list
    CpuPeriod int CpuQuota int CpuRealtimePeriod int CpuRealtimeRuntime int CpusetCpus text CpusetMems text
    Devices list DeviceCgroupRules list DeviceRequests list MemoryReservation int MemorySwap int
    MemorySwappiness any OomKillDisable any PidsLimit any Ulimits list CpuCount int CpuPercent int
    IOMaximumIOps int IOMaximumBandwidth int Mounts? list MaskedPaths list ReadonlyPaths list Init? bool"""
NETWORK = """Bridge text SandboxID text SandboxKey text Ports map HairpinMode bool LinkLocalIPv6Address text
    LinkLocalIPv6PrefixLen int SecondaryIPAddresses list SecondaryIPv6Addresses list EndpointID text
    Gateway text GlobalIPv6Address text GlobalIPv6PrefixLen int IPAddress text IPPrefixLen int
    IPv6Gateway text MacAddress text Networks map"""
ENDPOINT = """IPAMConfig any Links list Aliases list MacAddress text DriverOpts map GwPriority int
    NetworkID text EndpointID text Gateway text IPAddress text IPPrefixLen int IPv6Gateway text
    GlobalIPv6Address text GlobalIPv6PrefixLen int DNSNames list"""
VOLUME = """CreatedAt text Driver text Labels map Mountpoint text Name text Options map Scope text
    Status? map ClusterVolume? object UsageData? object"""
CLIENT = """Platform object Version text ApiVersion text DefaultAPIVersion text GitCommit text GoVersion text
    Os text Arch text BuildTime text Context text"""
SERVER = """Platform object Version text ApiVersion text MinAPIVersion text Os text Arch text Components list
    GitCommit text GoVersion text KernelVersion text Experimental? bool BuildTime text"""
INFO = """ID text Containers int ContainersRunning int ContainersPaused int ContainersStopped int Images int
    Driver text DriverStatus list Plugins object MemoryLimit bool SwapLimit bool CpuCfsPeriod bool
    CpuCfsQuota bool CPUShares bool CPUSet bool PidsLimit bool IPv4Forwarding bool Debug bool NFd int
    OomKillDisable bool NGoroutines int SystemTime text LoggingDriver text CgroupDriver text
    CgroupVersion? text NEventsListener int KernelVersion text OperatingSystem text OSVersion text
    OSType text Architecture text IndexServerAddress text RegistryConfig object NCPU int MemTotal int
    GenericResources list DockerRootDir text HttpProxy text HttpsProxy text NoProxy text Name text
    Labels list ExperimentalBuild bool ServerVersion text Runtimes map DefaultRuntime text Swarm object
    LiveRestoreEnabled bool Isolation text InitBinary text ContainerdCommit object RuncCommit object
    InitCommit object SecurityOptions list ProductLicense? text DefaultAddressPools? list
    FirewallBackend? object CDISpecDirs list DiscoveredDevices? list NRI? object Containerd? object
    Warnings list ClientInfo object"""

KINDS: dict[str, Any] = {
    "text": str, "int": int, "bool": bool, "list": (list, type(None)), "map": (dict, type(None)),
    "object": dict, "any": object,
}  # fmt: skip


def facts(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


def check(document: dict[str, Any], text: str) -> None:
    for name, kind in facts(text):
        if not name.endswith("?"):
            assert name in document, name
        if name.rstrip("?") in document:
            value = document[name.rstrip("?")]
            assert isinstance(value, KINDS[kind]), (name, value)
            assert kind != "int" or not isinstance(value, bool), name


@pytest.fixture
def bare(nacre: Nacre, tmp_path: Any) -> str:
    """An image that says nothing at all."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    nacre("build", "-q", "-t", "bare:1", str(tmp_path))
    return "bare:1"


def one(nacre: Nacre, *argv: str) -> dict[str, Any]:
    documents = json.loads(nacre(*argv).out)
    assert len(documents) == 1
    return dict(documents[0])


def test_an_image_has_every_field(nacre: Nacre, bare: str, busybox_image: str) -> None:
    for name in (bare, busybox_image):
        document = one(nacre, "image", "inspect", name)
        check(document, IMAGE)
        check(document["Config"], CONFIG)
        check(document["RootFS"], "Type text Layers list")
        check(document["Metadata"], "LastTagTime text")
        check(document["GraphDriver"], "Data map Name text")
        check(document["Descriptor"], "mediaType text digest text size int")


def test_a_container_has_every_field(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--network", "host", "--name", "box", busybox_image, "true")
    document = one(nacre, "container", "inspect", "-s", "box")
    check(document, CONTAINER)
    for part, text in (("Config", CONFIG), ("State", STATE), ("HostConfig", HOST_CONFIG)):
        check(document[part], text)
    check(document["NetworkSettings"], NETWORK)
    check(document["NetworkSettings"]["Networks"]["host"], ENDPOINT)
    check(document["HostConfig"]["LogConfig"], "Type text Config map")
    check(document["HostConfig"]["RestartPolicy"], "Name text MaximumRetryCount int")
    assert document["SizeRootFs"] > document["SizeRw"] >= 0


def test_a_volume_has_every_field(nacre: Nacre) -> None:
    nacre("volume", "create", "vol")
    document = one(nacre, "volume", "inspect", "vol")
    check(document, VOLUME)
    assert one(nacre, "inspect", "vol") == one(nacre, "inspect", "--type", "volume", "vol") == document
    for words in (("--type", "image", "vol"), ("--type", "volume", "nope"), ("nope",)):
        assert nacre("inspect", *words, check=False).code == 1


def test_versions_have_every_field(nacre: Nacre) -> None:
    document = nacre("version", "--format", "json").json
    check(document["Client"], CLIENT)
    check(document["Server"], SERVER)
    for component in document["Server"]["Components"]:
        check(component, "Name text Version text Details? map")
    form = "{{.Server.Version}} {{.Client.Version}} {{.Server.APIVersion}} {{.Client.APIVersion}}"
    assert nacre("version", "-f", form).out == f"{__version__} {__version__} 1.48 1.48\n"


def test_the_system_has_every_field(nacre: Nacre) -> None:
    document = nacre("info", "--format", "json").json
    check(document, INFO)
    check(document["Plugins"], "Volume list Network list Authorization list Log list")
    check(document["Swarm"], "NodeID text NodeAddr text LocalNodeState text ControlAvailable bool Error text")
    check(document["RegistryConfig"], "InsecureRegistryCIDRs list IndexConfigs map Mirrors list")
    assert document["DockerRootDir"] == str(nacre.root)


@pytest.mark.parametrize(("text", "path"), [(IMAGE, ""), (CONFIG, ".Config")])
def test_templates_may_ask_an_image_for_every_field(nacre: Nacre, bare: str, text: str, path: str) -> None:
    names = [name.rstrip("?") for name, _ in facts(text)]
    form = "".join(f"{{{{if {path}.{name}}}}}{{{{end}}}}" for name in names)
    assert nacre("inspect", "-f", form, bare).out == "\n"


def test_templates_may_ask_a_container_for_every_field(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--name", "box", busybox_image, "true")
    parts = {"": CONTAINER, ".State": STATE, ".Config": CONFIG, ".HostConfig": HOST_CONFIG}
    parts[".NetworkSettings"] = NETWORK
    names = [f"{path}.{name.rstrip('?')}" for path, text in parts.items() for name, _ in facts(text)]
    form = "".join(f"{{{{if {name}}}}}{{{{end}}}}" for name in names)
    assert nacre("inspect", "-f", form, "box").out == "\n"


UNSAID = (
    ("{{json .Config.Cmd}} {{json .Config.Entrypoint}} {{json .Config.OnBuild}}", "null null null"),
    ("{{.Config.User}}|{{.Config.Cmd}}|{{len .Config.Env}}", "|[]|1"),
    ("{{range $p, $x := .Config.ExposedPorts}}{{$p}}{{end}}|{{json .Config.ExposedPorts}}", "|null"),
    ('{{index .Config.Labels "a"}}|{{.Config.Labels.a}}|{{.Config.Labels}}', "|<no value>|map[]"),
    ("{{if .Config.Healthcheck}}y{{else}}n{{end}} {{.Config.Healthcheck}}", "n <nil>"),
)


def test_what_an_image_does_not_say(nacre: Nacre, bare: str) -> None:
    forms = "|".join(form for form, _ in UNSAID)
    assert nacre("inspect", "-f", forms, bare).out == "|".join(said for _, said in UNSAID) + "\n"
    number = nacre("images", "-q", "--no-trunc").out.strip()
    assert nacre("inspect", "-f", "{{.ID}} {{.Id}}", bare).out == f"{number} {number}\n"


KNOWN = (
    ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
    ("{{json .State.Health}} {{.RestartCount}}", "null 0"),
    ("{{json .NetworkSettings.Ports}} {{.NetworkSettings.IPAddress}}", "{} "),
    ("{{range .NetworkSettings.Networks}}<{{.IPAddress}}>{{end}}", "<>"),
    ("{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.IsNone}}", "no true"),
    ("{{.HostConfig.RestartPolicy}} {{.HostConfig.LogConfig.Type}}", "{no 0} json-file"),
    ("{{.HostConfig.NetworkMode}} {{.HostConfig.NetworkMode.IsHost}}", "host true"),
    (
        "{{json .HostConfig.Binds}} {{.HostConfig.ShmSize}} {{.HostConfig.Privileged}}",
        "null 67108864 false",
    ),
    (
        "{{json .Config.Cmd}} {{json .Config.Entrypoint}} {{.Path}} {{.Args}}",
        '["-c","true"] ["sh"] sh [-c true]',
    ),
    ("{{json .HostConfig.CapAdd}} {{json .HostConfig.Dns}}", '["CAP_SYS_PTRACE"] ["9.9.9.9"]'),
    ("{{json .HostConfig.Tmpfs}} {{json .Mounts}}", '{"/t":"size=1m"} []'),
    ("{{.Config.Labels.nope}} {{.Config.Labels.a}}", "<no value> 1"),
)


def test_what_is_known_of_a_container(nacre: Nacre, busybox_image: str) -> None:
    nacre(
        "create", "--name", "box", "--network", "host", "--entrypoint", "sh", "--cap-add", "SYS_PTRACE",
        "--dns", "9.9.9.9", "--tmpfs", "/t:size=1m", "-l", "a=1", busybox_image, "-c", "true",
    )  # fmt: skip
    forms = "|".join(form for form, _ in KNOWN)
    assert nacre("inspect", "-f", forms, "box").out == "|".join(said for _, said in KNOWN) + "\n"


def test_what_was_asked_is_told(nacre: Nacre, busybox_image: str) -> None:
    nacre(
        "create", "--name", "box", "--group-add", "10", "--ulimit", "nofile=64:128", "--stop-timeout", "0",
        "--dns-search", "x.org", "--expose", "81", "--log-driver", "none", "--pid", "host", "--uts", "host",
        "--security-opt", "no-new-privileges", "--init", "--privileged", busybox_image, "true",
    )  # fmt: skip
    document = one(nacre, "inspect", "box")
    host, config = document["HostConfig"], document["Config"]
    assert nacre("inspect", "-f", "{{.Config.ExposedPorts}}", "box").out == "map[81/tcp:{}]\n"
    assert (config["StopTimeout"], config["ExposedPorts"]) == (0, {"81/tcp": {}})
    assert host["Ulimits"] == [{"Name": "nofile", "Hard": 128, "Soft": 64}]
    assert (host["GroupAdd"], host["DnsSearch"], host["LogConfig"]["Type"]) == (["10"], ["x.org"], "none")
    assert (host["PidMode"], host["UTSMode"], host["IpcMode"]) == ("host", "host", "private")
    assert (host["SecurityOpt"], host["Init"], host["Privileged"]) == (["no-new-privileges"], True, True)
    nacre("create", "--name", "box2", busybox_image, "true")
    host = one(nacre, "inspect", "box2")["HostConfig"]
    assert (host["PidMode"], host["UTSMode"], host["CgroupnsMode"]) == ("", "", "private")


def test_mounts_are_told_as_what_they_are(nacre: Nacre, busybox_image: str, tmp_path: Any) -> None:
    nacre("volume", "create", "vol")
    nacre("create", "--name", "box", "-v", f"{tmp_path}:/b:ro", "-v", "vol:/a", busybox_image, "true")
    document = one(nacre, "inspect", "box")
    assert document["HostConfig"]["Binds"] == [f"{tmp_path}:/b:ro", "vol:/a"]
    folder = f"{nacre.root}/volumes/vol"
    assert document["Mounts"] == [
        {"Type": "volume", "Name": "vol", "Source": folder, "Destination": "/a", "Driver": "local",
         "Mode": "z", "RW": True, "Propagation": ""},
        {"Type": "bind", "Source": str(tmp_path), "Destination": "/b", "Mode": "ro", "RW": False,
         "Propagation": "rprivate"},
    ]  # fmt: skip


def test_volumes_without_a_name(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--name", "box", "-v", "/data", busybox_image, "true")
    document = one(nacre, "inspect", "box")
    assert (document["Config"]["Volumes"], document["HostConfig"]["Binds"]) == ({"/data": {}}, None)
    assert [(mount["Type"], len(mount["Name"])) for mount in document["Mounts"]] == [("volume", 64)]
    assert nacre("ps", "-a", "--format", "{{.LocalVolumes}}").out == "1\n"


def test_ports_have_docker_s_methods(nacre: Nacre, tmp_path: Any) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\nEXPOSE 80 53/udp\n")
    nacre("build", "-q", "-t", "ports:1", str(tmp_path))
    form = "{{range $p, $x := .Config.ExposedPorts}}{{$p.Port}}-{{$p.Proto}} {{end}}"
    assert nacre("inspect", "-f", form, "ports:1").out == "53-udp 80-tcp \n"


def test_what_fails_over_types_is_told_over_the_json(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--name", "box", busybox_image, "true")
    result = nacre("inspect", "-f", "{{.State.Health.Status}}", "box", check=False)
    assert result.code == 1
    assert (
        'template: :1:8: executing "" at <.State.Health.Status>: map has no entry for key "Health"'
        in result.err
    )
    assert nacre("inspect", "-f", "{{.Nope", "box", check=False).code == 64


def test_what_was_asked_for(nacre: Nacre, busybox_image: str, tmp_path: Any) -> None:
    """Compared with docker 28 by hand, field by field."""
    nacre("create", "--name", "other", "-v", "/other", busybox_image)
    words = (
        "-v", "data:/data:ro", "-v", "./:/host", "-v", "/anonymous", "--volumes-from", "other:ro",
        "--mount", "type=volume,src=more,dst=/more,volume-label=q=r,volume-nocopy",
        "--mount", f"type=bind,src={tmp_path},dst=/b,readonly,bind-propagation=private",
        "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700", "--tmpfs", "/tt:size=2m",
        "--device-cgroup-rule", "c 1:3 r", "--cap-add", "net_admin", "--cap-drop", "ALL", "-e", "A=B", "-i",
    )  # fmt: skip
    nacre("create", "--name", "first", "--network", "none", *words, busybox_image)
    (found,) = json.loads(nacre("inspect", "first").out)
    host, config = found["HostConfig"], found["Config"]
    assert host["Binds"] == ["data:/data:ro", f"{tmp_path}:/host"]
    assert host["VolumesFrom"] == ["other:ro"]
    assert host["Mounts"] == [
        {
            "Type": "volume", "Source": "more", "Target": "/more",
            "VolumeOptions": {"NoCopy": True, "Labels": {"q": "r"}, "DriverConfig": {}},
        },
        {
            "Type": "bind", "Source": str(tmp_path), "Target": "/b", "ReadOnly": True,
            "BindOptions": {"Propagation": "private"},
        },
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}},
    ]  # fmt: skip
    assert (host["Tmpfs"], host["DeviceCgroupRules"]) == ({"/tt": "size=2m"}, ["c 1:3 r"])
    assert (host["CapAdd"], host["CapDrop"]) == (["CAP_NET_ADMIN"], ["ALL"])
    assert (config["Volumes"], config["Env"][0]) == ({"/anonymous": {}}, "A=B")
    assert not any(name.startswith("HOSTNAME=") for name in config["Env"])
    assert [config[f"Attach{name}"] for name in ("Stdin", "Stdout", "Stderr")] == [True, True, True]
    modes = {mount["Destination"]: mount.get("Mode") for mount in found["Mounts"]}
    assert (modes["/anonymous"], modes["/data"], modes["/more"]) == ("", "ro", "z")
