"""All tables of the configuration, in the order in which they are shown."""

from __future__ import annotations

from . import (
    access,
    activity,
    cache,
    certificates,
    database,
    garbage,
    ldap,
    limits,
    log,
    metrics,
    oidc,
    protocol,
    rates,
    retention,
    scrub,
    server,
    storage,
    tls,
    upstreams,
    webhooks,
)

TABLES = (
    server.TABLE,
    log.TABLE,
    metrics.TABLE,
    database.TABLE,
    tls.TABLE,
    access.TABLE,
    oidc.TABLE,
    ldap.TABLE,
    certificates.TABLE,
    protocol.TABLE,
    limits.TABLE,
    rates.TABLE,
    storage.TABLE,
    garbage.TABLE,
    scrub.TABLE,
    activity.TABLE,
    retention.TABLE,
    upstreams.TABLE,
    cache.TABLE,
    webhooks.TABLE,
)
