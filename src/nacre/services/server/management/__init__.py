"""The management API of a registry, under `/api/v1`: who may come in, what is in it, and its upkeep.

app         one question for each request: which operation, who asks, may they, is it understood
  ├─ call       one request that was let through
  ├─ people     users, teams, tokens, trusts
  ├─ rights     grants and namespaces
  ├─ content    repositories, tags, what was deleted
  ├─ replications  rules for other registries
  ├─ backups    what a backup is made of
  └─ upkeep     audit, storage, webhooks, and what takes long: collection, check, retention (`running`)

The operations, what goes in and what comes out stand in `grammars.management`. A client sends a password or
a token with each request; there are no cookies, and a body is JSON or refused, so no page of another site can
send one.
"""
