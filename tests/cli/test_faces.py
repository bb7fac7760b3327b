"""The command line is a thin skin over the engine: what it imports, and that a library can do the same."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import nacre
from nacre import cli
from nacre.cli import build, run
from nacre.cli.commands import COMMANDS, COMMON, CommandEntry, load
from nacre.cli.groups import GROUPS
from nacre.engine import Config, Engine
from nacre.engine.accounts import RegistryAccounts
from nacre.engine.baking import BakeFiles
from nacre.engine.containers import ContainerCollection
from nacre.engine.layers import LayerTools
from nacre.engine.mounts import Mounts
from nacre.engine.network import NetworkSettings
from nacre.engine.networks import NetworkCollection
from nacre.engine.options import ContainerOptions
from nacre.engine.outputs import Outputs
from nacre.engine.registries import Registries
from nacre.engine.registrycontent import RegistryContent
from nacre.engine.remoteaccount import RemoteAccount
from nacre.engine.replication import RegistryReplication
from nacre.engine.system import System
from nacre.engine.volumes import VolumeCollection
from nacre.images.arrows.combining import Combination
from nacre.images.model.limits import Limits
from nacre.services.build import BuildOptions
from nacre.words.rules import GarbageRules, RegistryRules

FOLDER = Path(cli.__path__[0])
MODULES = sorted(FOLDER.rglob("*.py"))
BELOW = ("ground", "stores", "images", "services")
VALUE, PURE = "a value that is handed to the engine", "a pure function of values that the engine gave"
TAKEN = {
    "ground.sandbox.Stdio": VALUE,
    "images.places.place.Place": VALUE,
    "services.build.BuildOptions": VALUE,
    "services.build.PackageIndexes": VALUE,
    "stores.containers.ContainerRow": VALUE,
    "stores.volumes.Volume": VALUE,
    "images.arrows.combining.Combination": VALUE,
    "images.arrows.exporting.Annotation": VALUE,
    "images.arrows.exporting.LEVELS": VALUE,
    "images.arrows.manifestlist.encoded": PURE,
    "images.dockerfile.outline.advised": PURE,
    "images.dockerfile.secrets.masked": PURE,
    "images.arrows.manifestlist.exact_entries": PURE,
    "images.arrows.manifestlist.platform_fields": PURE,
    "images.attestations.wanted.AttestationOptions": VALUE,
    "images.attestations.wanted.KINDS": VALUE,
    "images.attestations.wanted.MAX": VALUE,
    "images.attestations.wanted.PROVENANCE": VALUE,
    "images.attestations.wanted.SBOM": VALUE,
    "images.attestations.wanted.V1": VALUE,
    "images.model.image.Image": VALUE,
    "images.model.limits.Limits": VALUE,
    "stores.containers.CONTAINER": VALUE,
    "images.model.image.repo_digests": PURE,
    "images.model.platforms.fits": PURE,
    "images.model.platforms.misfit": PURE,
    "ground.monitor.logfile.stamp": PURE,
    "stores.volumes.named_by": PURE,
    "ground.finder.install": "the process of a face loads its modules by a short way",
    "ground.userns": "demo and unshare enter a namespace for other programs, without a store",
    "ground.files.remove_tree": "the tour removes its own folder",
}
"""What the command line takes from below the engine when it runs, and why."""


def taken(path: Path) -> set[str]:
    """The names that a module imports from below the engine, `images.model.image.Image`, but for types."""
    package = ["nacre", *path.relative_to(FOLDER.parent).parent.parts]
    found = set()
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module or "").split(".")]
            found |= {".".join([*filter(None, module), alias.name]) for alias in node.names}
    return {
        name.removeprefix("nacre.") for name in found if name.split(".")[1:2] and name.split(".")[1] in BELOW
    }


def _running(node: ast.AST) -> list[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    found = []
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            found += [child, *_running(child)]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_command_line_wires_nothing(path: Path) -> None:
    """It imports the engine, words and grammars; else values and pure functions alone."""
    assert taken(path) <= set(TAKEN)


def test_every_exception_is_needed() -> None:
    assert set().union(*map(taken, MODULES)) == set(TAKEN)


# what a library can do

PARTS = {
    "": Engine, "containers": ContainerCollection, "volumes": VolumeCollection, "mounts": Mounts,
    "layers": LayerTools, "registries": Registries, "system": System, "networks": NetworkCollection,
    "outputs": Outputs, "bake": BakeFiles, "accounts": RegistryAccounts, "account": RemoteAccount,
    "content": RegistryContent, "replication": RegistryReplication,
}  # fmt: skip
OPTIONS = {
    "ContainerOptions": ContainerOptions,
    "BuildOptions": BuildOptions,
    "Network": NetworkSettings,
    "Config": Config,
    "Limits": Limits,
    "Combination": Combination,
    "RegistryRules": RegistryRules,
    "GarbageRules": GarbageRules,
}
TERMINAL, PRINTED, CALLER = "for the terminal alone", "how a result is printed", "the caller looks at values"
NOTHING = ("Refused", "Rejected", "Ignored", "Accepted", "Discarded")
"""How the help of options begins that have no effect, or none but an error."""

EVERYWHERE = {
    "format": PRINTED, "no-trunc": PRINTED, "filter": CALLER, "quiet": TERMINAL, "cidfile": TERMINAL,
    "progress": "an object with the methods of Progress", "verbose": PRINTED, "iidfile": TERMINAL,
    "digestfile": TERMINAL,
}  # fmt: skip
LIMITS = {
    option.name: f"Limits: {option.key}" for option in run.LIMITS if not option.help.startswith(NOTHING)
}
CREATE = LIMITS | {
    "add-host": "hosts", "annotation": "annotations", "cap-add": "cap_add", "device": "devices",
    "device-cgroup-rule": "device_rules", "disable-content-trust": "always so", "dns-opt": "dns_options",
    "dns-option": "dns_options", "env": "environment", "env-file": "read it first", "expose": "ports",
    "group-add": "groups", "isolation": "always so", "label": "labels", "label-file": "read it first",
    "log-opt": "log_options", "mount": "mounts", "net": "network", "net-alias": "network_aliases",
    "network-alias": "network_aliases", "oom-score-adj": "oom_score",
    "quiet": TERMINAL, "rm": "auto_remove", "security-opt": "security",
    "sysctl": "sysctls", "ulimit": "ulimits", "volume": "volumes",
    "volume-driver": "always so", "workdir": "working_dir", "attach": "stdio",
}  # fmt: skip
ENDS = {
    f"{side}-{name}": f"{network}: {field}"
    for side, network in (("src", "source_network"), ("dest", "target_network"))
    for name, field in (
        ("creds", "users"), ("username", "users"), ("password", "users"), ("registry-token", "users"),
        ("no-creds", "users"), ("authfile", "auth_files"), ("cert-dir", "certificates"),
        ("daemon-host", "docker_host"), ("tls-verify", "insecure"),
    )
}  # fmt: skip
PRUNED = {"force": "it is asked on the terminal", "filter": "image_picked"}
AT_ROOT = {"root": "see accounts"}
REGISTRY = AT_ROOT | {"url": "see remote"}
INSECURE = {"insecure": "Network: insecure"}
COMMANDS_OF = {
    "attach": ("containers.attach", {
        "detach-keys": "a field of stdio", "no-stdin": "a field of stdio", "sig-proxy": "a field of stdio",
    }),
    "bake": ("bake.plan", {
        "file": "see bake.define", "list": "fields of a Definition", "print": PRINTED,
        "set": "overrides", "allow": "see bake.check", "metadata-file": "what outputs return",
        "load": "overrides", "push": "overrides", "pull": "overrides", "no-cache": "overrides",
        "call": "overrides", "check": "overrides", "provenance": "overrides", "sbom": "overrides",
    }),
    "build": ("build", {
        "add-host": "BuildOptions: hosts", "build-arg": "arguments", "file": "dockerfile",
        "format": "BuildOptions: form", "allow": "BuildOptions: allow",
        "ssh": "BuildOptions: agents", "build-context": "BuildOptions: contexts",
        "call": "see call", "check": "see call", "explain": "see explain", "verify": "see verify",
        "label": "labels", "output": "see outputs", "secret": "BuildOptions: secrets",
        "push": "see outputs", "load": "see outputs", "annotation": "see outputs",
        "metadata-file": "what outputs return", "no-cache-filter": "BuildOptions: no_cache_filter",
        "print-dockerfile": "see call",
        "attest": "BuildOptions: attestations", "sbom": "BuildOptions: attestations",
        "provenance": "BuildOptions: attestations",
        "base": "BuildOptions: base", "extra": "BuildOptions: extras", "group": "BuildOptions: groups",
        "tag": "tags", "network": "BuildOptions: network", "shm-size": "BuildOptions: shm_size",
        "ulimit": "BuildOptions: ulimits",
        **{option.name: f"Limits: {option.key}" for option in build.COMMAND.options if option in run.LIMITS},
    }),
    "commit": ("containers.commit", {"change": "changes"}),
    "copy": ("copy", ENDS | {
        "additional-tag": "names", "format": "format", "authfile": "Network: auth_files",
        "image-parallel-copies": "at_once", "multi-arch": "all", "override-arch": "platform",
        "override-os": "platform", "override-variant": "platform", "retry-times": "Network: attempts",
        "retry-delay": "Network: delay",
    }),
    "cp": ("containers.copy_out", {"follow-link": "follow"}),
    "create": ("containers.create", CREATE | {"attach": "there is nothing to attach to yet"}),
    "demo": (None, "a tour for people"),
    "diff": ("containers.diff", {}),
    "events": ("system.events", {}),
    "exec": ("containers.exec", {
        "detach": "see exec_detached", "env": "environment", "env-file": "read it first",
        "interactive": "input", "workdir": "working_dir", "detach-keys": "a field of stdio",
    }),
    "explore": ("explore", {"depth": PRINTED, "top": PRINTED}),
    "export": ("containers.export", {"output": "write"}),
    "history": ("image", {"human": PRINTED}),
    "images": ("images", {"all": "there are no intermediate images", "digests": PRINTED}),
    "import": ("import_tar", {"change": "changes"}),
    "info": ("system.info", {}),
    "inspect": ("image", {"size": "see containers.size", "type": "each kind has a part of its own"}),
    "kill": ("containers.kill", {}),
    "load": ("load", {"input": "path"}),
    "login": ("registries.login", {"password-stdin": TERMINAL}),
    "logout": ("registries.logout", {}),
    "logs": ("containers.logs", {"details": PRINTED, "since": CALLER, "timestamps": CALLER, "until": CALLER}),
    "mirror": ("mirror", {}),
    "mount": ("mounts.mount", {}),
    "optimize": ("containers.record", {
        "entrypoint": "ContainerOptions: entrypoint", "env": "ContainerOptions: environment",
        "env-file": "read it first", "for": "seconds", "interactive": "a field of stdio",
        "mount": "ContainerOptions: mounts", "network": "ContainerOptions: network",
        "output": "see registries.optimize", "recorded": "see registries.recorded",
        "publish": "ContainerOptions: publish",
        "tmpfs": "ContainerOptions: tmpfs", "user": "ContainerOptions: user",
        "volume": "ContainerOptions: volumes", "workdir": "ContainerOptions: working_dir",
    }),
    "ps": ("containers.list", {"last": CALLER, "latest": CALLER, "size": "see containers.size"}),
    "pull": ("pull", {"all-tags": "see pull_all"}),
    "push": ("push", {
        "all-tags": "see tags", "compression-format": "compression", "compression-level": "level",
        "force-compression": "force", "format": "format", "lazy-index": "see registries.attach_indexes",
    }),
    "rename": ("containers.rename", {}),
    "restart": ("containers.restart", {"time": "timeout"}),
    "rm": ("containers.remove", {}),
    "rmi": ("remove", {"no-prune": "prune"}),
    "run": ("containers.run", CREATE | {
        "detach": "see run_detached", "detach-keys": "a field of stdio", "sig-proxy": "apart",
    }),
    "save": ("save", {"output": "path"}),
    "search": ("registries.search", {}),
    "start": ("containers.start", {
        "all": CALLER, "attach": "see start_attached", "interactive": "see start_attached",
        "detach-keys": "a field of stdio",
    }),
    "stop": ("containers.stop", {"time": "timeout"}),
    "tag": ("tag", {}),
    "top": ("containers.top", {}),
    "tree": ("sharing", {}),
    "unmount": ("mounts.unmount", {"all": "see list"}),
    "unpause": ("containers.unpause", {}),
    "unshare": (None, "a shell for people; Engine.inside does the same for a function"),
    "version": (None, "nacre.__version__"),
    "stats": ("containers.stats", {"all": CALLER, "no-stream": "it is one look"}),
    "update": ("containers.update", {}),
    "wait": ("containers.wait", {}),
    "builder du": ("system.cache", {}),
    "builder prune": ("system.prune_cache", {
        "filter": "picked", "force": "it is asked on the terminal", "all": "always so",
        "keep-storage": "reserved_space",
    }),
    "builder create": (None, "there is one builder"),
    "builder imagetools create": ("registries.combine", {
        "annotation": "Combination: annotations", "append": "a source more", "dry-run": "no names",
        "file": "read it first", "metadata-file": "what it returns", "platform": "Combination: platforms",
        "prefer-index": "Combination: prefers_index", "tag": "names",
    }),
    "builder imagetools inspect": ("registries.look", {"raw": PRINTED}),
    "builder history export": (None, "always an error"),
    "builder history import": (None, "always an error"),
    "builder history inspect": ("system.build", {}),
    "builder history inspect attachment": ("system.build_attachment", {}),
    "builder history logs": ("system.build_log", {}),
    "builder history ls": ("system.builds", {
        "filter": CALLER, "local": "checkout", "no-trunc": PRINTED,
    }),
    "builder history open": (None, "always an error"),
    "builder history rm": ("system.remove_builds", {}),
    "builder history trace": (None, "always an error"),
    "builder inspect": ("system.platforms", {"bootstrap": "there is nothing to boot"}),
    "builder ls": ("system.platforms", {}),
    "builder rm": (None, "there is one builder"),
    "builder stop": (None, "there is one builder"),
    "builder use": (None, "there is one builder"),
    "builder version": (None, "nacre.__version__"),
    "container inspect": ("containers.get", {"size": "see containers.size"}),
    "container prune": ("system.sweep", PRUNED),
    "image inspect": ("image", {}),
    "image prune": ("system.sweep", PRUNED | {"all": "images"}),
    "layer apply": ("layers.apply", {}),
    "layer diff": ("layers.diff", {"output": "write"}),
    "layer ls": ("layers.entries", {}),
    "manifest annotate": ("manifest_annotate", {"arch": "architecture"}),
    "manifest create": ("manifest_create", INSECURE),
    "manifest inspect": ("manifest_inspect", INSECURE),
    "manifest push": ("manifest_push", INSECURE),
    "manifest rm": ("manifest_remove", {}),
    "network connect": ("networks.connect", {"alias": "aliases"}),
    "network create": ("networks.create", {
        "aux-address": "reserved", "driver": "there is one driver", "gateway": "gateways", "label": "labels",
        "ipam-driver": "there is one driver", "ipv4": "always so", "opt": "options", "scope": "always so",
        "subnet": "subnets", "attachable": "always so",
    }),
    "network disconnect": ("networks.disconnect", {}),
    "network inspect": ("networks.get", {}),
    "network ls": ("networks.list", {}),
    "network prune": ("networks.prune", {"force": "it is asked on the terminal", "filter": "wanted"}),
    "network rm": ("networks.remove", {"force": "NotFound is raised, which the caller may catch"}),
    "pause": ("containers.pause", {}),
    "port": ("containers.reached", {}),
    "registry audit": ("accounts.audit", REGISTRY | {"last": "limit"}),
    "registry import": ("registries.import_storage", {
        "root": "folder", "quiet": TERMINAL, "repository": "see import_registry", "to": "see import_registry",
    }),
    "registry backup": ("registries.backup", REGISTRY | {
        "root": "folder", "quiet": TERMINAL, "config": "storage",
    }),
    "registry restore": ("registries.restore", {
        "root": "folder", "quiet": TERMINAL, "config": "storage", "storage-endpoint": "storage",
    }),
    "registry check": ("registries.check", REGISTRY | {"root": "folder", "config": "storage"}),
    "registry gc": ("registries.collect", REGISTRY | {
        "root": "folder", "gc-grace": "GarbageRules: grace", "untagged-age": "GarbageRules: untagged",
    }),
    "registry grant": ("accounts.grant", REGISTRY),
    "registry grants": ("accounts.grants", REGISTRY),
    "registry namespace ls": ("accounts.namespaces", REGISTRY),
    "registry namespace set": ("accounts.set_namespace", REGISTRY | {"no-immutable": "no patterns"}),
    "registry purge": ("content.purge", REGISTRY),
    "registry repo ls": ("content.repositories", REGISTRY),
    "registry repo inspect": ("content.repository", REGISTRY),
    "registry repo rm": ("content.remove", REGISTRY),
    "registry repo set": ("content.describe", REGISTRY | {"description": "summary"}),
    "registry repo tags": ("content.tags", REGISTRY),
    "registry replication add": ("replication.add", REGISTRY | {
        "config": "see configure", "deletes": "rule", "direction": "rule", "exclude": "rule",
        "interval": "rule", "password-stdin": TERMINAL, "prefix": "rule", "rate": "rule", "referrers": "rule",
        "registry": "rule", "repository": "rule", "strip": "rule", "tag": "rule", "timeout": "rule",
        "user": "rule",
    }),
    "registry replication ls": ("replication.states", REGISTRY | {"config": "see configure"}),
    "registry replication rm": ("replication.remove", REGISTRY | {"config": "see configure"}),
    "registry replication run": ("replication.run", REGISTRY | {
        "config": "see configure", "dry-run": "see compare",
    }),
    "registry replication status": ("replication.failures", REGISTRY | {
        "config": "see configure", "last": "limit",
    }),
    "registry retention": ("content.retain", REGISTRY | {
        "exclude": "rules", "keep-for": "rules", "keep-newest": "rules", "repository": "rules",
        "tag": "rules", "config": "rules",
    }),
    "registry revoke": ("accounts.revoke", REGISTRY),
    "registry team add": ("accounts.add_team", REGISTRY),
    "registry team join": ("accounts.join", REGISTRY),
    "registry team leave": ("accounts.leave", REGISTRY),
    "registry team ls": ("accounts.teams", REGISTRY),
    "registry team rm": ("accounts.remove_team", REGISTRY),
    "registry token add": ("accounts.add_token", REGISTRY | {"mine": "see account.add_token"}),
    "registry token ls": ("accounts.tokens", REGISTRY | {"mine": "see account.tokens"}),
    "registry token rm": ("accounts.remove_token", REGISTRY | {"mine": "see account.remove_token"}),
    "registry trust add": ("accounts.add_trust", REGISTRY | {"claim": "claims", "for": "lifetime"}),
    "registry trust ls": ("accounts.trusts", REGISTRY),
    "registry trust rm": ("accounts.remove_trust", REGISTRY),
    "registry undelete": ("content.undelete", REGISTRY | {
        "last": "see deleted", "repository": "see deleted",
    }),
    "registry user add": ("accounts.add_user", REGISTRY | {"password-stdin": TERMINAL}),
    "registry user ls": ("accounts.users", REGISTRY),
    "registry user passwd": ("account.set_password", {"url": "see remote", "password-stdin": TERMINAL}),
    "registry user rm": ("accounts.remove_user", REGISTRY),
    "registry user update": ("accounts.update_user", REGISTRY | {"password-stdin": TERMINAL}),
    "registry webhook ls": ("content.webhooks", REGISTRY | {"config": "rules"}),
    "registry webhook test": ("content.test_webhook", REGISTRY | {"config": "rules"}),
    "registry serve": ("registries.serve", {
        "accounts": "rules", "addr": "host", "root": "folder", "quiet": "access",
        "delete-children": "children",
        "gc-interval": "garbage", "gc-grace": "garbage", "untagged-age": "garbage",
        "tls-cert": "tls", "tls-key": "tls", "storage-endpoint": "storage", "storage-redirect": "storage",
        "config": "see configure", "check-config": PRINTED,
        "cache-size": "cache", "upstream": "upstreams",
        "database": "metadata",
        "log-format": "log",
    }),
    "system check": ("system.check", {}),
    "system df": ("disk_usage", {"verbose": "see system.summary"}),
    "system prune": ("system.sweep", PRUNED | {"all": "images", "volumes": "see volumes.prune"}),
    "system reset": ("system.reset", {"force": "it is asked on the terminal"}),
    "volume create": ("volumes.create", {"label": "labels", "opt": "options"}),
    "volume inspect": ("volumes.get", {}),
    "volume ls": ("volumes.list", {}),
    "volume prune": ("volumes.prune", {"force": "it is asked on the terminal"}),
    "volume rm": ("volumes.remove", {"force": "NotFound is raised, which the caller may catch"}),
}  # fmt: skip
"""For each command the method of the engine, or why there is none; for each flag that has another name there
the argument, `VALUE: field`, or a reason.
"""


def commands() -> dict[str, CommandEntry]:
    """Each command once."""
    found: dict[str, CommandEntry] = {}
    grouped = {
        f"{title} {name}": entry for title, group in GROUPS.items() for name, entry in group.commands.items()
    }
    for name, entry in ({**COMMON, **COMMANDS} | grouped).items():
        if entry.module + entry.attribute not in [one.module + one.attribute for one in found.values()]:
            found[name] = entry
    return found


def method(path: str) -> inspect.Signature:
    part, _, name = path.rpartition(".")
    return inspect.signature(inspect.getattr_static(PARTS[part], name))


def test_every_command_is_there() -> None:
    assert set(COMMANDS_OF) == set(commands())


@pytest.mark.parametrize("name", [name for name, (path, _) in COMMANDS_OF.items() if path])
def test_a_library_can_do_what_the_command_can(name: str) -> None:
    path, spelled = COMMANDS_OF[name]
    assert path is not None
    assert isinstance(spelled, dict)
    taken = set(method(path).parameters)
    values = [
        kind for kind in OPTIONS if any(kind in str(p.annotation) for p in method(path).parameters.values())
    ]
    for option in load(name, commands()[name]).options:
        if option.help.startswith(NOTHING):
            continue
        said = spelled.get(option.name) or EVERYWHERE.get(option.name) or option.key
        fields = {field for kind in values for field in OPTIONS[kind]._fields}
        assert said in taken | fields or _explained(said), f"{name} --{option.name}: {said}"


def _explained(said: str) -> bool:
    """A field of a value, another method, or a reason in words."""
    kind, colon, field = said.partition(": ")
    kind = "Network" if kind in ("source_network", "target_network") else kind
    if colon and kind in OPTIONS:
        return field in OPTIONS[kind]._fields
    if said.startswith("see "):
        return any(
            said.removeprefix("see ").split()[0].rpartition(".")[2] in dir(part) for part in PARTS.values()
        )
    return " " in said or said == PRINTED


@pytest.mark.parametrize("name", COMMANDS_OF)
def test_what_is_said_of_flags_is_of_flags(name: str) -> None:
    said = COMMANDS_OF[name][1]
    known = {option.name for option in load(name, commands()[name]).options}
    assert isinstance(said, str) or set(said) - {"attach", "filter"} <= known


def test_values_are_part_of_the_package() -> None:
    assert {"Config", "ContainerOptions", "NetworkSettings"} <= set(nacre.__all__)
