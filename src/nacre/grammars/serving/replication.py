"""`[replication."offsite"]`: what goes to another registry, or comes from there."""

from __future__ import annotations

from ...words.replication import ReplicationRule
from .kind import DURATION, FLAG, SECRET, SIZE, TEXTS, choice
from .table import ConfigKey, ConfigTable, Occurrence

_HELP = "What goes to another registry by itself, or comes from there. See registry-replication.md."
TABLE = ConfigTable("replication", ("rules", "replication"), ReplicationRule, _HELP, (
    ConfigKey("registry", "The other registry, `[SCHEME://]HOST[:PORT]`"),
    ConfigKey("direction", "Bring it what changes here, or bring here what changes there",
              choice("push", "pull")),
    ConfigKey("repositories", "Patterns of repositories where content comes from", TEXTS),
    ConfigKey("tags", "Patterns of their tags", TEXTS),
    ConfigKey("exclude", "Patterns of tags that are left out", TEXTS),
    ConfigKey("strip", "Namespace that names lose on their way; repositories outside of it are left out"),
    ConfigKey("prefix", "Namespace that is put before names"),
    ConfigKey("referrers", "Signatures, SBOMs and whatever else refers to an image go with it", FLAG),
    ConfigKey("deletes", "What was brought is deleted where its original is", FLAG),
    ConfigKey("interval", "From one comparison of everything to the next; `0s`: an hour with pull, never with"
              " push", DURATION),
    ConfigKey("timeout", "A tag that takes longer is broken off and tried again", DURATION),
    ConfigKey("rate", "Most bytes per second; `0` for any", SIZE),
    ConfigKey("user", "Who this registry is there"),
    ConfigKey("password", "The password, or a token", SECRET),
), Occurrence.NAMED)  # fmt: skip
