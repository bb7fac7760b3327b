"""The types of docker's documents: every field that it prints, in its order.

Source: moby api/types and api/swagger.yaml (v28 and v29), docker/cli cli/command/system. What v29 has dropped
is there still, since scripts read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...grammars.gotemplate import Shapes

_IMAGE = """
Image image.InspectResponse ID=Id string RepoTags []string RepoDigests []string Parent string Comment \
    string Created string DockerVersion string Author string Config *Config Architecture string Variant? \
    string Os string OsVersion? string Size int GraphDriver GraphDriver RootFS RootFS Metadata Metadata \
    Descriptor? *Descriptor Manifests? []any Identity? any
GraphDriver storage.DriverData Data map[string]string Name string
RootFS image.RootFS Type? string Layers? []string
Metadata image.Metadata LastTagTime string
Descriptor v1.Descriptor MediaType=mediaType string Digest=digest string Size=size int \
    Annotations=annotations? map[string]string URLs=urls? []string Data=data? string Platform=platform? \
    *Platform ArtifactType=artifactType? string
Platform v1.Platform Architecture=architecture string OS=os string OSVersion=os.version? string \
    OSFeatures=os.features? []string Variant=variant? string
Config container.Config Hostname string Domainname string User string AttachStdin bool AttachStdout bool \
    AttachStderr bool ExposedPorts? map[Port]struct{} Tty bool OpenStdin bool StdinOnce bool Env []string \
    Cmd []string Healthcheck? *Healthcheck ArgsEscaped? bool Image string Volumes map[string]struct{} \
    WorkingDir string Entrypoint []string NetworkDisabled? bool MacAddress? string OnBuild []string Labels \
    map[string]string StopSignal? string StopTimeout? *int Shell? []string
Healthcheck v1.HealthcheckConfig Test? []string Interval? int Timeout? int StartPeriod? int \
    StartInterval? int Retries? int
"""
_REMOTE = """
Remote imagetools.tplInputs Name=name string Manifest=manifest *RemoteManifest Image=image any \
    SBOM? any Provenance? any
RemoteManifest imagetools.tplManifest SchemaVersion=schemaVersion? int MediaType=mediaType string \
    Digest=digest string Size=size int Manifests=manifests? []Descriptor Annotations=annotations? \
    map[string]string
RemoteConfig v1.Image Created=created? string Author=author? string Architecture=architecture string \
    Variant=variant? string OS=os string OSVersion=os.version? string Config=config? RemoteRun \
    RootFS=rootfs RemoteRoot History=history? []RemoteStep
RemoteRun v1.ImageConfig User? string ExposedPorts? map[string]struct{} Env? []string Entrypoint? []string \
    Cmd? []string Volumes? map[string]struct{} WorkingDir? string Labels? map[string]string StopSignal? string
RemoteRoot v1.RootFS Type=type string DiffIDs=diff_ids []string
RemoteStep v1.History Created=created? string CreatedBy=created_by? string Author=author? string \
    Comment=comment? string EmptyLayer=empty_layer? bool
"""
_CONTAINER = """
Container container.InspectResponse ID=Id string Created string Path string Args []string State *State \
    Image string ResolvConfPath string HostnamePath string HostsPath string LogPath string Name string \
    RestartCount int Driver string Platform string MountLabel string ProcessLabel string AppArmorProfile \
    string ExecIDs []string HostConfig *HostConfig GraphDriver GraphDriver SizeRw? *int SizeRootFs? *int \
    Mounts []MountPoint Config *Config NetworkSettings *NetworkSettings ImageManifestDescriptor? \
    *Descriptor Storage? any
State container.State Status string Running bool Paused bool Restarting bool OOMKilled bool Dead bool \
    Pid int ExitCode int Error string StartedAt string FinishedAt string Health? *Health
Health container.Health Status string FailingStreak int Log []any
MountPoint container.MountPoint Type? string Name? string Source string Destination string Driver? \
    string Mode string RW bool Propagation string
NetworkSettings container.NetworkSettings Bridge string SandboxID string SandboxKey string Ports \
    map[Port][]PortBinding HairpinMode bool LinkLocalIPv6Address string LinkLocalIPv6PrefixLen int \
    SecondaryIPAddresses []any SecondaryIPv6Addresses []any EndpointID string Gateway string \
    GlobalIPv6Address string GlobalIPv6PrefixLen int IPAddress string IPPrefixLen int IPv6Gateway string \
    MacAddress string Networks map[string]*Endpoint
PortBinding nat.PortBinding HostIP=HostIp string HostPort string
Endpoint network.EndpointSettings IPAMConfig any Links []string Aliases []string MacAddress string \
    DriverOpts map[string]string GwPriority int NetworkID string EndpointID string Gateway string \
    IPAddress string IPPrefixLen int IPv6Gateway string GlobalIPv6Address string GlobalIPv6PrefixLen int \
    DNSNames []string
"""
_HOST_CONFIG = """
HostConfig container.HostConfig Binds []string ContainerIDFile string LogConfig LogConfig NetworkMode \
    NetworkMode PortBindings map[Port][]PortBinding RestartPolicy RestartPolicy AutoRemove bool \
    VolumeDriver string VolumesFrom []string ConsoleSize []int Annotations? map[string]string CapAdd \
    []string CapDrop []string CgroupnsMode Mode DNS=Dns []string DNSOptions=DnsOptions []string \
    DNSSearch=DnsSearch []string ExtraHosts []string GroupAdd []string IpcMode Mode Cgroup string Links \
    []string OomScoreAdj int PidMode Mode Privileged bool PublishAllPorts bool ReadonlyRootfs bool \
    SecurityOpt []string StorageOpt? map[string]string Tmpfs? map[string]string UTSMode Mode UsernsMode \
    Mode ShmSize int Sysctls? map[string]string Runtime? string Isolation string CPUShares=CpuShares int \
    Memory int NanoCPUs=NanoCpus int CgroupParent string BlkioWeight int BlkioWeightDevice []any \
    BlkioDeviceReadBps []any BlkioDeviceWriteBps []any BlkioDeviceReadIOps []any BlkioDeviceWriteIOps \
    []any CPUPeriod=CpuPeriod int CPUQuota=CpuQuota int CPURealtimePeriod=CpuRealtimePeriod int \
    CPURealtimeRuntime=CpuRealtimeRuntime int CpusetCpus string CpusetMems string Devices []Device \
    DeviceCgroupRules []string DeviceRequests []any MemoryReservation int MemorySwap int \
    MemorySwappiness *int OomKillDisable *bool PidsLimit *int Ulimits []any CPUCount=CpuCount int \
    CPUPercent=CpuPercent int IOMaximumIOps int IOMaximumBandwidth int Mounts? []any MaskedPaths \
    []string ReadonlyPaths []string Init? *bool
LogConfig container.LogConfig Type string Config map[string]string
RestartPolicy container.RestartPolicy Name string MaximumRetryCount int
Device container.DeviceMapping PathOnHost string PathInContainer string CgroupPermissions string
"""
_OTHERS = """
Network network.Inspect Name string ID=Id string Created string Scope string Driver string EnableIPv4 bool \
    EnableIPv6 bool IPAM IPAM Internal bool Attachable bool Ingress bool ConfigFrom ConfigFrom ConfigOnly \
    bool Containers map[string]NetworkContainer Options map[string]string Labels map[string]string
IPAM network.IPAM Driver string Options map[string]string Config []IPAMConfig
IPAMConfig network.IPAMConfig Subnet? string IPRange? string Gateway? string \
    AuxAddress=AuxiliaryAddresses? map[string]string
ConfigFrom network.ConfigReference Network string
NetworkContainer network.EndpointResource Name string EndpointID string MacAddress string IPv4Address \
    string IPv6Address string
Volume volume.Volume CreatedAt? string Driver string Labels map[string]string Mountpoint string Name \
    string Options map[string]string Scope string Status? map[string]any ClusterVolume? any UsageData? \
    any
Version system.versionInfo Client ClientVersion Server *ServerVersion Version string Python string Os \
    string Arch string KernelVersion string
ClientVersion system.clientVersion Platform? *PlatformInfo Version string APIVersion=ApiVersion string \
    DefaultAPIVersion string GitCommit string GoVersion string Os string Arch string BuildTime string \
    Context string
ServerVersion system.serverVersion Platform PlatformInfo Version string APIVersion=ApiVersion string \
    MinAPIVersion string Os string Arch string Components []Component GitCommit string GoVersion string \
    KernelVersion string Experimental? bool BuildTime string
PlatformInfo system.PlatformInfo Name string
Component system.ComponentVersion Name string Version string Details? map[string]string
Info system.Info ID string Containers int ContainersRunning int ContainersPaused int ContainersStopped \
    int Images int Driver string DriverStatus [][]string Plugins Plugins MemoryLimit bool SwapLimit bool \
    CPUCfsPeriod=CpuCfsPeriod bool CPUCfsQuota=CpuCfsQuota bool CPUShares bool CPUSet bool PidsLimit \
    bool IPv4Forwarding bool BridgeNfIptables bool BridgeNfIp6tables bool Debug bool NFd int \
    OomKillDisable bool NGoroutines int SystemTime string LoggingDriver string CgroupDriver string \
    CgroupVersion? string NEventsListener int KernelVersion string OperatingSystem string OSVersion \
    string OSType string Architecture string IndexServerAddress string RegistryConfig *RegistryConfig \
    NCPU int MemTotal int GenericResources []any DockerRootDir string HTTPProxy=HttpProxy string \
    HTTPSProxy=HttpsProxy string NoProxy string Name string Labels []string ExperimentalBuild bool \
    ServerVersion string Runtimes map[string]Runtime DefaultRuntime string Swarm Swarm \
    LiveRestoreEnabled bool Isolation string InitBinary string ContainerdCommit Commit RuncCommit Commit \
    InitCommit Commit SecurityOptions []string CDISpecDirs []string ProductLicense? string \
    DefaultAddressPools? []any FirewallBackend? any DiscoveredDevices? []any NRI? any Containerd? any \
    Warnings []string ClientInfo *ClientInfo Version string Root string DriverReason string LayerBlobs \
    string Lazy string Rootless bool MappedIDs? any
Plugins system.PluginsInfo Volume []string Network []string Authorization []string Log []string
RegistryConfig registry.ServiceConfig InsecureRegistryCIDRs []string IndexConfigs map[string]any Mirrors \
    []string
Runtime system.RuntimeWithStatus Path=path? string Args=runtimeArgs? []string
Swarm swarm.Info NodeID string NodeAddr string LocalNodeState string ControlAvailable bool Error string \
    RemoteManagers []any Nodes? int Managers? int Cluster? any
Commit system.Commit ID string
ClientInfo system.clientInfo Debug bool Version string Plugins []any Warnings []string Context string
"""


def _is(word: str) -> Callable[[Any], bool]:
    return lambda mode: mode == word


def _port(port: str) -> str:
    return port.partition("/")[0]


_METHODS: dict[str, dict[str, Callable[..., Any]]] = {
    "Port": {
        "Port": _port,
        "Num": lambda port: int(_port(port) or 0),
        "Int": lambda port: int(_port(port) or 0),
        "Proto": lambda port: port.partition("/")[2] or "tcp",
    },
    "NetworkMode": {
        "IsHost": _is("host"),
        "IsNone": _is("none"),
        "IsBridge": _is("bridge"),
        "IsDefault": _is("default"),
        "IsPrivate": lambda mode: mode not in ("host", "none"),
        "IsContainer": lambda mode: mode.startswith("container:"),
        "NetworkName": str,
    },
    "Mode": {"IsHost": _is("host"), "IsPrivate": _is("private")},
    "RestartPolicy": {
        "IsNone": lambda policy: policy["Name"] in ("no", ""),
        "IsAlways": lambda policy: policy["Name"] == "always",
        "IsOnFailure": lambda policy: policy["Name"] == "on-failure",
        "IsUnlessStopped": lambda policy: policy["Name"] == "unless-stopped",
    },
}

SHAPES = Shapes(_IMAGE + _REMOTE + _CONTAINER + _HOST_CONFIG + _OTHERS, _METHODS)
