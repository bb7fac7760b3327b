"""Management commands: the table of those that have commands of their own. Read when one of them is typed."""

from __future__ import annotations

from .commands import COMMANDS, COMMON, CommandEntry, Group

_BUILDX = {
    "bake": COMMANDS["bake"],
    "build": COMMON["build"],
    "create": CommandEntry("buildx", "Create a new builder instance", "CREATE"),
    "du": CommandEntry("buildcache", "Disk usage of the build cache", "DU"),
    "history export": CommandEntry(
        "buildhistory", "Export build records into Docker Desktop bundle", "EXPORT"
    ),
    "history import": CommandEntry("buildhistory", "Import build records into Docker Desktop", "IMPORT"),
    "history inspect": CommandEntry("buildhistory", "Inspect a build record", "INSPECT"),
    "history inspect attachment": CommandEntry(
        "buildhistory", "Inspect a build record attachment", "ATTACHMENT"
    ),
    "history logs": CommandEntry("buildhistory", "Print the logs of a build record", "LOGS"),
    "history ls": CommandEntry("buildhistory", "List build records", "LS"),
    "history open": CommandEntry("buildhistory", "Open a build record in Docker Desktop", "OPEN"),
    "history rm": CommandEntry("buildhistory", "Remove build records", "RM"),
    "history trace": CommandEntry("buildhistory", "Show the OpenTelemetry trace of a build record", "TRACE"),
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
            "attach": COMMANDS["attach"],
            "commit": COMMANDS["commit"],
            "cp": COMMANDS["cp"],
            "create": COMMANDS["create"],
            "diff": COMMANDS["diff"],
            "exec": COMMON["exec"],
            "export": COMMANDS["export"],
            "inspect": CommandEntry(
                "inspect", "Display detailed information on one or more containers", "CONTAINER"
            ),
            "kill": COMMANDS["kill"],
            "logs": COMMANDS["logs"],
            "ls": COMMON["ps"],
            "pause": COMMANDS["pause"],
            "port": COMMANDS["port"],
            "prune": CommandEntry("prune", "Remove all stopped containers", "CONTAINER"),
            "rename": COMMANDS["rename"],
            "restart": COMMANDS["restart"],
            "rm": COMMANDS["rm"],
            "run": COMMON["run"],
            "start": COMMANDS["start"],
            "stats": COMMANDS["stats"],
            "stop": COMMANDS["stop"],
            "top": COMMANDS["top"],
            "unpause": COMMANDS["unpause"],
            "update": COMMANDS["update"],
            "wait": COMMANDS["wait"],
        },
        {"list": "ls", "ps": "ls", "remove": "rm"},
    ),
    "image": Group(
        "Manage images",
        {
            "build": COMMON["build"],
            "copy": COMMANDS["copy"],
            "explore": COMMANDS["explore"],
            "history": COMMANDS["history"],
            "import": COMMANDS["import"],
            "inspect": CommandEntry("inspect", "Display detailed information on one or more images", "IMAGE"),
            "load": COMMANDS["load"],
            "ls": COMMON["images"],
            "prune": CommandEntry("prune", "Remove unused images", "IMAGE"),
            "pull": COMMON["pull"],
            "push": COMMON["push"],
            "rm": COMMANDS["rmi"],
            "save": COMMANDS["save"],
            "tag": COMMANDS["tag"],
            "tree": COMMANDS["tree"],
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
        "Run and manage a registry",
        {
            "audit": CommandEntry("accounts", "Show the audit log", "AUDIT"),
            "backup": CommandEntry("registry", "Copy a registry while it is served", "BACKUP"),
            "check": CommandEntry("registry", "Verify that every image can be pulled", "CHECK"),
            "gc": CommandEntry("registry", "Remove unreferenced manifests and blobs", "GC"),
            "grant": CommandEntry("accounts", "Give a user or a team a role in a namespace", "GRANT"),
            "grants": CommandEntry("accounts", "List the roles of users and teams", "GRANTS"),
            "import": CommandEntry("registry", "Import the content of another registry", "IMPORT"),
            "namespace ls": CommandEntry("accounts", "List the settings of namespaces", "NAMESPACE_LS"),
            "namespace set": CommandEntry(
                "accounts", "Change the visibility, immutable tags or quota of a namespace", "NAMESPACE_SET"
            ),
            "purge": CommandEntry("registrycontent", "Permanently remove deleted content", "PURGE"),
            "replication add": CommandEntry("replication", "Add a replication rule", "ADD"),
            "replication ls": CommandEntry("replication", "List replication rules and their progress", "LS"),
            "replication rm": CommandEntry("replication", "Remove replication rules", "RM"),
            "replication run": CommandEntry("replication", "Compare and replicate everything now", "RUN"),
            "replication status": CommandEntry(
                "replication", "Show pending and failed replications", "STATUS"
            ),
            "repo inspect": CommandEntry(
                "registrycontent", "Display detailed information on repositories", "REPO_INSPECT"
            ),
            "repo ls": CommandEntry("registrycontent", "List repositories", "REPO_LS"),
            "repo rm": CommandEntry("registrycontent", "Delete repositories, tags or manifests", "REPO_RM"),
            "repo set": CommandEntry(
                "registrycontent", "Set the description or README of a repository", "REPO_SET"
            ),
            "repo tags": CommandEntry("registrycontent", "List the tags of a repository", "REPO_TAGS"),
            "restore": CommandEntry("registry", "Restore a registry from a backup", "RESTORE"),
            "retention": CommandEntry("registrycontent", "Remove old tags by rules", "RETENTION"),
            "revoke": CommandEntry(
                "accounts", "Remove the role of a user or a team in a namespace", "REVOKE"
            ),
            "serve": CommandEntry("registry", "Serve a registry over HTTP"),
            "team add": CommandEntry("accounts", "Create teams", "TEAM_ADD"),
            "team join": CommandEntry("accounts", "Make users members of a team", "TEAM_JOIN"),
            "team leave": CommandEntry("accounts", "Remove users from a team", "TEAM_LEAVE"),
            "team ls": CommandEntry("accounts", "List teams", "TEAM_LS"),
            "team rm": CommandEntry("accounts", "Remove teams", "TEAM_RM"),
            "token add": CommandEntry("accounts", "Create a token for a user", "TOKEN_ADD"),
            "token ls": CommandEntry("accounts", "List tokens", "TOKEN_LS"),
            "token rm": CommandEntry("accounts", "Remove tokens", "TOKEN_RM"),
            "trust add": CommandEntry(
                "trust", "Let CI jobs log in with tokens of their CI system", "TRUST_ADD"
            ),
            "trust ls": CommandEntry("trust", "List trusted issuers and what their jobs may do", "TRUST_LS"),
            "trust rm": CommandEntry("trust", "Stop trusting issuers", "TRUST_RM"),
            "undelete": CommandEntry(
                "registrycontent", "Restore deleted or moved tags and manifests", "UNDELETE"
            ),
            "user add": CommandEntry("accounts", "Create a user", "USER_ADD"),
            "user ls": CommandEntry("accounts", "List users", "USER_LS"),
            "user passwd": CommandEntry("accounts", "Change your own password at a registry", "USER_PASSWD"),
            "user rm": CommandEntry("accounts", "Remove users", "USER_RM"),
            "user update": CommandEntry("accounts", "Change the password or status of a user", "USER_UPDATE"),
            "webhook ls": CommandEntry("registrycontent", "List webhooks", "WEBHOOK_LS"),
            "webhook test": CommandEntry("registrycontent", "Send a test event to webhooks", "WEBHOOK_TEST"),
        },
        {},
    ),
    "system": Group(
        "Manage nacre",
        {
            "check": CommandEntry("check", "Verify everything in the store, and repair it"),
            "df": CommandEntry("df", "Show disk usage"),
            "events": COMMANDS["events"],
            "info": COMMON["info"],
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
