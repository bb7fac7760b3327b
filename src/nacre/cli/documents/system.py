"""What `version` and `info` tell, as docker tells it, with what only nacre has to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...grammars.gotemplate import Struct
from ...words.oci import Platform
from .shapes import SHAPES

API_VERSION = "1.48"
"""The version of docker's API whose documents these are."""
_OLDEST = "1.24"


def version_document(own: Mapping[str, str]) -> Struct:
    """`own` are the fields that stand outside of docker's Client and Server, which are one here."""
    platform = Platform.host()
    both = {
        "Platform": {"Name": "nacre"},
        "Version": own["Version"],
        "ApiVersion": API_VERSION,
        "Os": platform.os,
        "Arch": platform.architecture,
    }
    engine = {
        "ApiVersion": API_VERSION,
        "MinAPIVersion": _OLDEST,
        "Arch": platform.architecture,
        "Os": platform.os,
    }
    python = own["Python"].rpartition(" ")
    server = both | {
        "MinAPIVersion": _OLDEST,
        "KernelVersion": own["KernelVersion"],
        "Components": [
            {"Name": "Engine", "Version": own["Version"], "Details": engine},
            {"Name": python[0], "Version": python[2]},
        ],
    }
    client = both | {"DefaultAPIVersion": API_VERSION, "Context": "default"}
    return SHAPES.fill("Version", {"Client": client, "Server": server, **own})


def info_document(own: Mapping[str, Any], proxies: Mapping[str, str], debug: bool) -> Struct:
    """`own` as `nacre info` prints it."""
    from time import gmtime, strftime

    version = own["Version"]
    known = {
        **own,
        "DriverStatus": [],
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Log": ["local"]},
        "Debug": debug,
        "SystemTime": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime()),
        "LoggingDriver": "local",
        "CgroupDriver": "none",
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {"InsecureRegistryCIDRs": [], "IndexConfigs": {}, "Mirrors": []},
        "DockerRootDir": own["Root"],
        "HttpProxy": proxies.get("http_proxy"),
        "HttpsProxy": proxies.get("https_proxy"),
        "NoProxy": proxies.get("no_proxy"),
        "Labels": [],
        "ServerVersion": version,
        "Runtimes": {"builtin": {}},
        "DefaultRuntime": "builtin",
        "Swarm": {"LocalNodeState": "inactive"},
        "SecurityOptions": ["name=seccomp,profile=builtin"]
        + ["name=rootless"] * own["Rootless"]
        + ["name=cgroupns"],
        "CDISpecDirs": [],
        "ClientInfo": {"Debug": debug, "Version": version, "Context": "default"},
    }
    return SHAPES.fill("Info", known)
