"""The table of commands: where each one lives, and its line in the help. No module is imported here.

Management commands have a table of their own (`groups`), which most command lines do not need.
"""

from __future__ import annotations

from ..words.errors import Unsupported
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
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


COMMON = {
    "run": CommandEntry("run", "Create and run a new container from an image"),
    "exec": CommandEntry("exec", "Execute a command in a running container"),
    "ps": CommandEntry("ps", "List containers"),
    "build": CommandEntry("build", "Build an image from a Dockerfile"),
    "pull": CommandEntry("pull", "Download an image from a registry"),
    "push": CommandEntry("push", "Upload an image to a registry"),
    "images": CommandEntry("images", "List images"),
    "login": CommandEntry("login", "Authenticate to a registry"),
    "logout": CommandEntry("logout", "Log out from a registry"),
    "version": CommandEntry("version", "Show the nacre version information"),
    "info": CommandEntry("info", "Display system-wide information"),
    "demo": CommandEntry("demo", "Run a guided tour that needs no network"),
}

COMMANDS = {
    "attach": CommandEntry(
        "attach", "Attach local standard input, output, and error streams to a running container"
    ),
    "bake": CommandEntry("bake", "Build from a file"),
    "commit": CommandEntry("commit", "Create a new image from a container's changes"),
    "copy": CommandEntry(
        "copy", "Copy an image between registries, directories, archives, daemons and the store"
    ),
    "cp": CommandEntry("cp", "Copy files/folders between a container and the local filesystem"),
    "create": CommandEntry("create", "Create a new container"),
    "diff": CommandEntry("diff", "Inspect changes to files of a container, or between two images"),
    "events": CommandEntry("events", "Get real time events from the store"),
    "explore": CommandEntry("explore", "Show how an image uses its bytes, and which are wasted", "EXPLORE"),
    "export": CommandEntry("export", "Export a container's filesystem as a tar archive"),
    "history": CommandEntry("history", "Show the history of an image"),
    "import": CommandEntry("import_", "Import the contents from a tarball to create a filesystem image"),
    "inspect": CommandEntry(
        "inspect", "Return low-level information on containers, images, networks and volumes"
    ),
    "kill": CommandEntry("kill", "Kill one or more running containers"),
    "load": CommandEntry("load", "Load an image from a tar archive or STDIN"),
    "logs": CommandEntry("logs", "Fetch the logs of a container"),
    "mirror": CommandEntry("mirror", "Mirror repositories as listed in a file, copying only changes"),
    "mount": CommandEntry(
        "mount", "Mount a container's or an image's filesystem and print its path", "MOUNT"
    ),
    "optimize": CommandEntry("optimize", "Record what an image reads when it starts, to speed up lazy pulls"),
    "pause": CommandEntry("pause", "Pause all processes within one or more containers", "PAUSE"),
    "port": CommandEntry("port", "List port mappings or a specific mapping for the container"),
    "rename": CommandEntry("rename", "Rename a container"),
    "restart": CommandEntry("restart", "Restart one or more containers"),
    "rm": CommandEntry("rm", "Remove one or more containers"),
    "rmi": CommandEntry("rmi", "Remove one or more images"),
    "save": CommandEntry("save", "Save one or more images to a tar archive (streamed to STDOUT by default)"),
    "search": CommandEntry("search", "Search a registry for images"),
    "start": CommandEntry("start", "Start one or more stopped containers"),
    "stats": CommandEntry("stats", "Display a live stream of container(s) resource usage statistics"),
    "stop": CommandEntry("stop", "Stop one or more running containers"),
    "tag": CommandEntry("tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "top": CommandEntry("top", "Display the running processes of a container"),
    "tree": CommandEntry("explore", "Show the layers of an image as a tree", "TREE"),
    "unmount": CommandEntry("mount", "Unmount file systems mounted by `nacre mount`", "UNMOUNT"),
    "unpause": CommandEntry("pause", "Unpause all processes within one or more containers", "UNPAUSE"),
    "unshare": CommandEntry("unshare", "Run a command in the user namespace of the store"),
    "update": CommandEntry("update", "Update configuration of one or more containers"),
    "wait": CommandEntry("wait", "Block until one or more containers stop, then print their exit codes"),
}

ALIASES = {"umount": "unmount"}
"""Other names, which docker's or podman's users know."""


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
