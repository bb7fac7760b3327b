"""`[[webhook]]`: whom to tell what happened."""

from __future__ import annotations

from ...words.rules import WebhookRule
from .kind import FLAG, SECRET, TEXTS, choice
from .table import ConfigKey, ConfigTable, Occurrence

TABLE = ConfigTable(
    "webhook", ("rules", "webhooks"), WebhookRule, "Whom to tell what happened. See registry-webhooks.md.",
    (
        ConfigKey("name", "Its name, by which the registry knows how far it is"),
        ConfigKey("url", "Where events are posted"),
        ConfigKey("secret", "The key of the signature", SECRET),
        ConfigKey("events", "What to tell: push, tag, mount, delete, restore, replicate", TEXTS),
        ConfigKey("repositories", "Patterns of repositories", TEXTS),
        ConfigKey("format", "How an event is written", choice("docker", "cloudevents")),
        ConfigKey("nearby", "The URL may lead to this machine and into private networks", FLAG),
    ),
    Occurrence.LISTED,
)  # fmt: skip
