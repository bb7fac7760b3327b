"""The table of commands: where each one lives, and its line in the help. No module is imported here."""

from __future__ import annotations

from ..words.errors import NotFound, Unsupported
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .options import Command


class CommandEntry(Value):
    """A command: the module under `cli/` that has it as `attribute`, and its one-line summary."""

    module: str
    summary: str
    attribute: str = "COMMAND"


class Group(Value):
    """A management command, which only has commands of its own; `aliases` are other names for those."""

    summary: str
    commands: dict[str, CommandEntry]
    aliases: dict[str, str]


_ATTACH = CommandEntry(
    "attach", "Attach local standard input, output, and error streams to a running container"
)
_BAKE = CommandEntry("bake", "Build from a file")
_BUILD = CommandEntry("build", "Build an image from a Dockerfile")
_COMMIT = CommandEntry("commit", "Create a new image from a container's changes")
_COPY = CommandEntry("copy", "Copy an image between registries, directories, archives, daemons and the store")
_CP = CommandEntry("cp", "Copy files/folders between a container and the local filesystem")
_CREATE = CommandEntry("create", "Create a new container")
_DIFF = CommandEntry("diff", "Inspect changes to files of a container, or between two images")
_EVENTS = CommandEntry("events", "Get real time events from the store")
_EXEC = CommandEntry("exec", "Execute a command in a running container")
_EXPLORE = CommandEntry("explore", "Show where the bytes of an image are, and which are wasted", "EXPLORE")
_EXPORT = CommandEntry("export", "Export a container's filesystem as a tar archive")
_HISTORY = CommandEntry("history", "Show the history of an image")
_IMAGES = CommandEntry("images", "List images")
_IMPORT = CommandEntry("import_", "Import the contents from a tarball to create a filesystem image")
_INFO = CommandEntry("info", "Display system-wide information")
_KILL = CommandEntry("kill", "Kill one or more running containers")
_LOAD = CommandEntry("load", "Load an image from a tar archive or STDIN")
_LOGS = CommandEntry("logs", "Fetch the logs of a container")
_MOUNT = CommandEntry("mount", "Mount a container's or an image's filesystem and print where", "MOUNT")
_OPTIMIZE = CommandEntry("optimize", "Record what an image reads at its start, for lazy pulls of it")
_PAUSE = CommandEntry("pause", "Pause all processes within one or more containers", "PAUSE")
_PORT = CommandEntry("port", "List port mappings or a specific mapping for the container")
_PS = CommandEntry("ps", "List containers")
_PULL = CommandEntry("pull", "Download an image from a registry")
_PUSH = CommandEntry("push", "Upload an image to a registry")
_RENAME = CommandEntry("rename", "Rename a container")
_RESTART = CommandEntry("restart", "Restart one or more containers")
_RM = CommandEntry("rm", "Remove one or more containers")
_RMI = CommandEntry("rmi", "Remove one or more images")
_RUN = CommandEntry("run", "Create and run a new container from an image")
_SAVE = CommandEntry("save", "Save one or more images to a tar archive (streamed to STDOUT by default)")
_START = CommandEntry("start", "Start one or more stopped containers")
_STOP = CommandEntry("stop", "Stop one or more running containers")
_TAG = CommandEntry("tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE")
_TOP = CommandEntry("top", "Display the running processes of a container")
_TREE = CommandEntry("explore", "Show the layers of an image as a tree", "TREE")
_STATS = CommandEntry("stats", "Display a live stream of container(s) resource usage statistics")
_UNMOUNT = CommandEntry("mount", "Unmount file systems mounted by `nacre mount`", "UNMOUNT")
_UNPAUSE = CommandEntry("pause", "Unpause all processes within one or more containers", "UNPAUSE")
_UPDATE = CommandEntry("update", "Update configuration of one or more containers")
_WAIT = CommandEntry("wait", "Block until one or more containers stop, then print their exit codes")

COMMON = {
    "run": _RUN,
    "exec": _EXEC,
    "ps": _PS,
    "build": _BUILD,
    "pull": _PULL,
    "push": _PUSH,
    "images": _IMAGES,
    "login": CommandEntry("login", "Authenticate to a registry"),
    "logout": CommandEntry("logout", "Log out from a registry"),
    "version": CommandEntry("version", "Show the nacre version information"),
    "info": _INFO,
    "demo": CommandEntry("demo", "Run a guided tour that needs no network"),
}

COMMANDS = {
    "attach": _ATTACH,
    "bake": _BAKE,
    "commit": _COMMIT,
    "copy": _COPY,
    "cp": _CP,
    "create": _CREATE,
    "diff": _DIFF,
    "events": _EVENTS,
    "explore": _EXPLORE,
    "export": _EXPORT,
    "history": _HISTORY,
    "import": _IMPORT,
    "inspect": CommandEntry(
        "inspect", "Return low-level information on containers, images, networks and volumes"
    ),
    "kill": _KILL,
    "load": _LOAD,
    "logs": _LOGS,
    "mirror": CommandEntry("mirror", "Mirror repositories as listed in a file, copying only changes"),
    "mount": _MOUNT,
    "optimize": _OPTIMIZE,
    "pause": _PAUSE,
    "port": _PORT,
    "rename": _RENAME,
    "restart": _RESTART,
    "rm": _RM,
    "rmi": _RMI,
    "save": _SAVE,
    "search": CommandEntry("search", "Search a registry for images"),
    "start": _START,
    "stats": _STATS,
    "stop": _STOP,
    "tag": _TAG,
    "top": _TOP,
    "tree": _TREE,
    "unmount": _UNMOUNT,
    "unpause": _UNPAUSE,
    "unshare": CommandEntry("unshare", "Run a command in the user namespace of the store"),
    "update": _UPDATE,
    "wait": _WAIT,
}

ALIASES = {"umount": "unmount"}
"""Other names, which docker's or podman's users know."""

_BUILDX = {
    "bake": _BAKE,
    "build": _BUILD,
    "create": CommandEntry("buildx", "Create a new builder instance", "CREATE"),
    "du": CommandEntry("buildcache", "Disk usage of the build cache", "DU"),
    "imagetools create": CommandEntry("imagetools", "Create a new image based on source images", "CREATE"),
    "imagetools inspect": CommandEntry("imagetools", "Show details of an image in the registry", "INSPECT"),
    "inspect": CommandEntry("buildx", "Inspect current builder instance", "INSPECT"),
    "ls": CommandEntry("buildx", "List builder instances", "LS"),
    "prune": CommandEntry("buildcache", "Remove build cache", "PRUNE"),
    "rm": CommandEntry("buildx", "Remove one or more builder instances", "RM"),
    "stop": CommandEntry("buildx", "Stop builder instance", "STOP"),
    "use": CommandEntry("buildx", "Set the current builder instance", "USE"),
    "version": CommandEntry("buildx", "Show buildx version information", "VERSION"),
}
"""What docker has under two names."""

GROUPS = {
    "builder": Group("Manage builds", _BUILDX, {"b": "build", "f": "bake"}),
    "buildx": Group("Manage builds, as buildx", _BUILDX, {"b": "build", "f": "bake"}),
    "container": Group(
        "Manage containers",
        {
            "attach": _ATTACH,
            "commit": _COMMIT,
            "cp": _CP,
            "create": _CREATE,
            "diff": _DIFF,
            "exec": _EXEC,
            "export": _EXPORT,
            "inspect": CommandEntry("inspect", "Display detailed information on one or more containers"),
            "kill": _KILL,
            "logs": _LOGS,
            "ls": _PS,
            "pause": _PAUSE,
            "port": _PORT,
            "prune": CommandEntry("prune", "Remove all stopped containers", "CONTAINER"),
            "rename": _RENAME,
            "restart": _RESTART,
            "rm": _RM,
            "run": _RUN,
            "start": _START,
            "stats": _STATS,
            "stop": _STOP,
            "top": _TOP,
            "unpause": _UNPAUSE,
            "update": _UPDATE,
            "wait": _WAIT,
        },
        {"list": "ls", "ps": "ls", "remove": "rm"},
    ),
    "image": Group(
        "Manage images",
        {
            "build": _BUILD,
            "copy": _COPY,
            "explore": _EXPLORE,
            "history": _HISTORY,
            "import": _IMPORT,
            "inspect": CommandEntry("inspect", "Display detailed information on one or more images"),
            "load": _LOAD,
            "ls": _IMAGES,
            "prune": CommandEntry("prune", "Remove unused images", "IMAGE"),
            "pull": _PULL,
            "push": _PUSH,
            "rm": _RMI,
            "save": _SAVE,
            "tag": _TAG,
            "tree": _TREE,
        },
        {"list": "ls", "remove": "rm"},
    ),
    "layer": Group(
        "Work with layers in pipes",
        {
            "apply": CommandEntry("layer", "Extract a layer from STDIN onto a directory", "APPLY"),
            "diff": CommandEntry("layer", "Write the layer that turns one directory into another", "DIFF"),
            "ls": CommandEntry("layer", "List the entries of a layer", "LS"),
        },
        {"list": "ls"},
    ),
    "manifest": Group(
        "Manage manifests and manifest lists",
        {
            "annotate": CommandEntry(
                "manifest", "Add information to an image of a local manifest list", "ANNOTATE"
            ),
            "create": CommandEntry(
                "manifest", "Create a local manifest list for annotating and pushing", "CREATE"
            ),
            "inspect": CommandEntry("manifest", "Display an image manifest, or manifest list", "INSPECT"),
            "push": CommandEntry("manifest", "Push a manifest list to a repository", "PUSH"),
            "rm": CommandEntry("manifest", "Delete one or more manifest lists from local storage", "RM"),
        },
        {"remove": "rm"},
    ),
    "network": Group(
        "Manage networks",
        {
            "connect": CommandEntry("network", "Connect a container to a network", "CONNECT"),
            "create": CommandEntry("network", "Create a network", "CREATE"),
            "disconnect": CommandEntry("network", "Disconnect a container from a network", "DISCONNECT"),
            "inspect": CommandEntry(
                "network", "Display detailed information on one or more networks", "INSPECT"
            ),
            "ls": CommandEntry("network", "List networks", "LS"),
            "prune": CommandEntry("network", "Remove all unused networks", "PRUNE"),
            "rm": CommandEntry("network", "Remove one or more networks", "RM"),
        },
        {"list": "ls", "remove": "rm"},
    ),
    "registry": Group(
        "Run a registry",
        {
            "audit": CommandEntry("accounts", "Show who changed, pushed, deleted, logged in", "AUDIT"),
            "backup": CommandEntry("registry", "Copy a registry while it is served", "BACKUP"),
            "check": CommandEntry("registry", "Prove that every image can be pulled", "CHECK"),
            "gc": CommandEntry("registry", "Remove what nothing names any more", "GC"),
            "grant": CommandEntry("accounts", "Let a user or a team do something in a namespace", "GRANT"),
            "grants": CommandEntry("accounts", "List who may do what", "GRANTS"),
            "import": CommandEntry("registry", "Take over another registry", "IMPORT"),
            "namespace ls": CommandEntry("accounts", "List what holds in namespaces", "NAMESPACE_LS"),
            "namespace set": CommandEntry(
                "accounts", "Make a namespace public, its tags immutable, or limit it", "NAMESPACE_SET"
            ),
            "purge": CommandEntry("registrycontent", "Remove for good what was deleted", "PURGE"),
            "replication add": CommandEntry("replication", "Add a rule for another registry", "ADD"),
            "replication ls": CommandEntry("replication", "List what replicates, and how far it is", "LS"),
            "replication rm": CommandEntry("replication", "Remove rules that were added", "RM"),
            "replication run": CommandEntry("replication", "Compare and replicate everything now", "RUN"),
            "replication status": CommandEntry("replication", "Show what waits or has failed", "STATUS"),
            "repo ls": CommandEntry("registrycontent", "List repositories", "REPO_LS"),
            "repo rm": CommandEntry("registrycontent", "Delete repositories", "REPO_RM"),
            "restore": CommandEntry("registry", "Make a registry of a backup", "RESTORE"),
            "retention": CommandEntry("registrycontent", "Remove tags by number and age", "RETENTION"),
            "revoke": CommandEntry("accounts", "Take back what was granted", "REVOKE"),
            "serve": CommandEntry("registry", "Serve a registry over HTTP"),
            "team add": CommandEntry("accounts", "Create teams", "TEAM_ADD"),
            "team join": CommandEntry("accounts", "Make users members of a team", "TEAM_JOIN"),
            "team leave": CommandEntry("accounts", "Take users out of a team", "TEAM_LEAVE"),
            "team ls": CommandEntry("accounts", "List teams", "TEAM_LS"),
            "team rm": CommandEntry("accounts", "Remove teams", "TEAM_RM"),
            "token add": CommandEntry("accounts", "Create a token for a user", "TOKEN_ADD"),
            "token ls": CommandEntry("accounts", "List tokens", "TOKEN_LS"),
            "token rm": CommandEntry("accounts", "Remove tokens", "TOKEN_RM"),
            "trust add": CommandEntry("trust", "Let CI jobs push by the tokens of their issuer", "TRUST_ADD"),
            "trust ls": CommandEntry("trust", "List what CI jobs may do", "TRUST_LS"),
            "trust rm": CommandEntry("trust", "Trust an issuer no more", "TRUST_RM"),
            "undelete": CommandEntry("registrycontent", "Restore what was deleted or moved", "UNDELETE"),
            "user add": CommandEntry("accounts", "Create a user", "USER_ADD"),
            "user ls": CommandEntry("accounts", "List users", "USER_LS"),
            "user rm": CommandEntry("accounts", "Remove users", "USER_RM"),
            "user update": CommandEntry(
                "accounts", "Change the password or the state of a user", "USER_UPDATE"
            ),
            "webhook ls": CommandEntry("registrycontent", "List who is told what happens", "WEBHOOK_LS"),
            "webhook test": CommandEntry("registrycontent", "Send a test event to webhooks", "WEBHOOK_TEST"),
        },
        {},
    ),
    "system": Group(
        "Manage nacre",
        {
            "check": CommandEntry("check", "Verify everything in the store, and repair it"),
            "df": CommandEntry("df", "Show disk usage"),
            "events": _EVENTS,
            "info": _INFO,
            "prune": CommandEntry("prune", "Remove unused data", "SYSTEM"),
            "reset": CommandEntry("reset", "Remove the store with all containers, images and volumes"),
        },
        {},
    ),
    "volume": Group(
        "Manage volumes",
        {
            "create": CommandEntry("volume", "Create a volume", "CREATE"),
            "inspect": CommandEntry(
                "volume", "Display detailed information on one or more volumes", "INSPECT"
            ),
            "ls": CommandEntry("volume", "List volumes", "LS"),
            "prune": CommandEntry("volume", "Remove unused volumes", "PRUNE"),
            "rm": CommandEntry("volume", "Remove one or more volumes", "RM"),
        },
        {"list": "ls", "remove": "rm"},
    ),
}


def lookup(words: Sequence[str]) -> tuple[str, CommandEntry | Group, Sequence[str]]:
    """The command that a line begins with: its full name, its place, the words after it.

    A group alone, or followed by an option, gives the group. Raises NotFound with a suggestion.
    """
    first, rest = ALIASES.get(words[0], words[0]), words[1:]
    entry = COMMON.get(first) or COMMANDS.get(first)
    if entry is not None:
        return first, entry, rest
    group = GROUPS.get(first)
    if group is None:
        raise _unknown(first, first, [*COMMON, *COMMANDS, *GROUPS, "help"], "")
    rest = _moved(rest) if group.commands is _BUILDX else rest
    if not rest or rest[0].startswith("-"):
        return first, group, rest
    second = group.aliases.get(rest[0], rest[0])
    if (two := " ".join(rest[:2])) in group.commands:
        return f"{first} {two}", group.commands[two], rest[2:]
    begins = {name.split()[0] for name in group.commands}
    if second in begins - {*group.commands}:
        if not "".join(rest[1:2]).strip("-h"):
            return first, group, rest[1:]
        raise _unknown(f"{first} {two}", two, [*group.commands], f"{first} ")
    if second not in group.commands:
        raise _unknown(f"{first} {second}", second, [*begins, *group.aliases], f"{first} ")
    return f"{first} {second}", group.commands[second], rest[1:]


def _moved(words: Sequence[str]) -> Sequence[str]:
    """`--builder NAME`, which may stand before a command, behind it."""
    if words and words[0].startswith("--builder="):
        return [*words[1:2], words[0], *words[2:]]
    return [words[2], *words[:2], *words[3:]] if len(words) > 2 and words[0] == "--builder" else words


def load(name: str, entry: CommandEntry) -> Command:
    """Import the module of a command."""
    try:
        module = __import__(f"nacre.cli.{entry.module}", fromlist=[entry.attribute])
    except ModuleNotFoundError as error:
        if error.name != f"nacre.cli.{entry.module}":
            raise
        raise Unsupported(f"'nacre {name}' is not supported") from None
    command: Command = getattr(module, entry.attribute)
    return command


def _unknown(shown: str, word: str, known: list[str], prefix: str) -> NotFound:
    from difflib import get_close_matches

    close = get_close_matches(word, known, 1, 0.7)
    help_line = f"see 'nacre {prefix}--help'"
    hint = f"did you mean 'nacre {prefix}{close[0]}'? {help_line}" if close else help_line
    return NotFound(f"unknown command: nacre {shown}", hint=hint)
