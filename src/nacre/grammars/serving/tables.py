"""All tables of the configuration, in the order in which they are shown."""

from __future__ import annotations

from . import access, activity, garbage, limits, protocol, rates, retention, server, tls

TABLES = (
    server.TABLE,
    tls.TABLE,
    access.TABLE,
    protocol.TABLE,
    limits.TABLE,
    rates.TABLE,
    garbage.TABLE,
    activity.TABLE,
    retention.TABLE,
)
