"""The table of commands: where each one lives, and its line in the help. No module is imported here."""

from __future__ import annotations

from ..words.errors import NotFound, Unsupported
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .options import Command


class Entry(Value):
    """A command: the module under `cli/` that has it as `attribute`, and its one-line summary."""

    module: str
    summary: str
    attribute: str = "COMMAND"


class Group(Value):
    """A management command, which only has commands of its own; `aliases` are other names for those."""

    summary: str
    commands: dict[str, Entry]
    aliases: dict[str, str]


_BUILD = Entry("build", "Build an image from a Dockerfile")
_COMMIT = Entry("commit", "Create a new image from a container's changes")
_COPY = Entry("copy", "Copy an image between registries, directories, archives, daemons and the store")
_CP = Entry("cp", "Copy files/folders between a container and the local filesystem")
_CREATE = Entry("create", "Create a new container")
_DIFF = Entry("diff", "Inspect changes to files of a container, or between two images")
_EXEC = Entry("exec", "Execute a command in a running container")
_EXPLORE = Entry("explore", "Show where the bytes of an image are, and which are wasted", "EXPLORE")
_EXPORT = Entry("export", "Export a container's filesystem as a tar archive")
_HISTORY = Entry("history", "Show the history of an image")
_IMAGES = Entry("images", "List images")
_IMPORT = Entry("import_", "Import the contents from a tarball to create a filesystem image")
_INFO = Entry("info", "Display system-wide information")
_KILL = Entry("kill", "Kill one or more running containers")
_LOAD = Entry("load", "Load an image from a tar archive or STDIN")
_LOGS = Entry("logs", "Fetch the logs of a container")
_MOUNT = Entry("mount", "Mount a container's or an image's filesystem and print where", "MOUNT")
_PORT = Entry("port", "List port mappings or a specific mapping for the container")
_PS = Entry("ps", "List containers")
_PULL = Entry("pull", "Download an image from a registry")
_PUSH = Entry("push", "Upload an image to a registry")
_RM = Entry("rm", "Remove one or more containers")
_RMI = Entry("rmi", "Remove one or more images")
_RUN = Entry("run", "Create and run a new container from an image")
_SAVE = Entry("save", "Save one or more images to a tar archive (streamed to STDOUT by default)")
_START = Entry("start", "Start one or more stopped containers")
_STOP = Entry("stop", "Stop one or more running containers")
_TAG = Entry("tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE")
_TREE = Entry("explore", "Show the layers of an image as a tree", "TREE")
_UNMOUNT = Entry("mount", "Unmount file systems mounted by `nacre mount`", "UNMOUNT")
_WAIT = Entry("wait", "Block until one or more containers stop, then print their exit codes")

COMMON = {
    "run": _RUN,
    "exec": _EXEC,
    "ps": _PS,
    "build": _BUILD,
    "pull": _PULL,
    "push": _PUSH,
    "images": _IMAGES,
    "login": Entry("login", "Authenticate to a registry"),
    "logout": Entry("logout", "Log out from a registry"),
    "version": Entry("version", "Show the nacre version information"),
    "info": _INFO,
    "demo": Entry("demo", "Run a guided tour that needs no network"),
}

COMMANDS = {
    "commit": _COMMIT,
    "copy": _COPY,
    "cp": _CP,
    "create": _CREATE,
    "diff": _DIFF,
    "explore": _EXPLORE,
    "export": _EXPORT,
    "history": _HISTORY,
    "import": _IMPORT,
    "inspect": Entry("inspect", "Return low-level information on containers, images, networks and volumes"),
    "kill": _KILL,
    "load": _LOAD,
    "logs": _LOGS,
    "mirror": Entry("mirror", "Mirror repositories as listed in a file, copying only changes"),
    "mount": _MOUNT,
    "port": _PORT,
    "rm": _RM,
    "rmi": _RMI,
    "save": _SAVE,
    "search": Entry("search", "Search a registry for images"),
    "start": _START,
    "stop": _STOP,
    "tag": _TAG,
    "tree": _TREE,
    "unmount": _UNMOUNT,
    "unshare": Entry("unshare", "Run a command in the user namespace of the store"),
    "wait": _WAIT,
}

ALIASES = {"umount": "unmount"}
"""Other names, which docker's or podman's users know."""

GROUPS = {
    "builder": Group(
        "Manage builds",
        {"build": _BUILD, "prune": Entry("prune", "Remove build cache", "BUILDER")},
        {},
    ),
    "container": Group(
        "Manage containers",
        {
            "commit": _COMMIT,
            "cp": _CP,
            "create": _CREATE,
            "diff": _DIFF,
            "exec": _EXEC,
            "export": _EXPORT,
            "inspect": Entry("inspect", "Display detailed information on one or more containers"),
            "kill": _KILL,
            "logs": _LOGS,
            "ls": _PS,
            "port": _PORT,
            "prune": Entry("prune", "Remove all stopped containers", "CONTAINER"),
            "rm": _RM,
            "run": _RUN,
            "start": _START,
            "stop": _STOP,
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
            "inspect": Entry("inspect", "Display detailed information on one or more images"),
            "load": _LOAD,
            "ls": _IMAGES,
            "prune": Entry("prune", "Remove unused images", "IMAGE"),
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
            "apply": Entry("layer", "Extract a layer from STDIN onto a directory", "APPLY"),
            "diff": Entry("layer", "Write the layer that turns one directory into another", "DIFF"),
            "ls": Entry("layer", "List the entries of a layer", "LS"),
        },
        {"list": "ls"},
    ),
    "manifest": Group(
        "Manage manifests and manifest lists",
        {
            "annotate": Entry("manifest", "Add information to an image of a local manifest list", "ANNOTATE"),
            "create": Entry("manifest", "Create a local manifest list for annotating and pushing", "CREATE"),
            "inspect": Entry("manifest", "Display an image manifest, or manifest list", "INSPECT"),
            "push": Entry("manifest", "Push a manifest list to a repository", "PUSH"),
            "rm": Entry("manifest", "Delete one or more manifest lists from local storage", "RM"),
        },
        {"remove": "rm"},
    ),
    "network": Group(
        "Manage networks",
        {
            "connect": Entry("network", "Connect a container to a network", "CONNECT"),
            "create": Entry("network", "Create a network", "CREATE"),
            "disconnect": Entry("network", "Disconnect a container from a network", "DISCONNECT"),
            "inspect": Entry("network", "Display detailed information on one or more networks", "INSPECT"),
            "ls": Entry("network", "List networks", "LS"),
            "prune": Entry("network", "Remove all unused networks", "PRUNE"),
            "rm": Entry("network", "Remove one or more networks", "RM"),
        },
        {"list": "ls", "remove": "rm"},
    ),
    "registry": Group("Run a registry", {"serve": Entry("registry", "Serve a registry over HTTP")}, {}),
    "system": Group(
        "Manage nacre",
        {
            "check": Entry("check", "Verify everything in the store, and repair it"),
            "df": Entry("df", "Show disk usage"),
            "info": _INFO,
            "prune": Entry("prune", "Remove unused data", "SYSTEM"),
            "reset": Entry("reset", "Remove the store with all containers, images and volumes"),
        },
        {},
    ),
    "volume": Group(
        "Manage volumes",
        {
            "create": Entry("volume", "Create a volume", "CREATE"),
            "inspect": Entry("volume", "Display detailed information on one or more volumes", "INSPECT"),
            "ls": Entry("volume", "List volumes", "LS"),
            "prune": Entry("volume", "Remove unused volumes", "PRUNE"),
            "rm": Entry("volume", "Remove one or more volumes", "RM"),
        },
        {"list": "ls", "remove": "rm"},
    ),
}


def lookup(words: Sequence[str]) -> tuple[str, Entry | Group, Sequence[str]]:
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
    if not rest or rest[0].startswith("-"):
        return first, group, rest
    second = group.aliases.get(rest[0], rest[0])
    if second not in group.commands:
        raise _unknown(f"{first} {second}", second, [*group.commands, *group.aliases], f"{first} ")
    return f"{first} {second}", group.commands[second], rest[1:]


def load(name: str, entry: Entry) -> Command:
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
