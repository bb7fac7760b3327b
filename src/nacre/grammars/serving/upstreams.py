"""`[upstreams."docker.io"]`: a registry whose content is fetched when it is asked for."""

from __future__ import annotations

from ...words.upstreams import UpstreamRules
from .kind import DURATION, FLAG, SECRET, TEXTS
from .table import ConfigKey, ConfigTable, Occurrence

_HELP = "A registry whose repositories can be had here, by the name that clients know it by."
TABLE = ConfigTable("upstreams", ("rules", "upstreams"), UpstreamRules, _HELP, (
    ConfigKey("url", "Where it is reached, if not under its name: `[SCHEME://]HOST[:PORT][/PATH]`",
              field="location"),
    ConfigKey("prefix", "The namespace here in which its repositories lie; its name unless said"),
    ConfigKey("unprefixed", "Names without a registry are its, as docker's `registry-mirrors` asks", FLAG),
    ConfigKey("allow", 'Patterns of its repositories that may be had, like `["library/*"]`; all if empty',
              TEXTS),
    ConfigKey("ttl", "How long a tag is believed before it is asked for again", DURATION),
    ConfigKey("minimum-age", "A tag moves to new content only when that was seen here so long ago", DURATION),
    ConfigKey("trust-created", "The image's own word on when it was made counts as well", FLAG),
    ConfigKey("user", "Who this registry is there"),
    ConfigKey("password", "The password, or a token", SECRET),
), Occurrence.NAMED)  # fmt: skip
