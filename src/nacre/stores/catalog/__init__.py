"""What the registry holds under which name.

    repositories ──< blobs       which content was pushed or mounted there (nothing else is visible)
                 ──< manifests ──< parts     what a manifest needs, of blobs and of other manifests
                 ──< tags        names of manifests
    uploads                      sessions that have begun and not ended
    unused                       what nothing names, and since when: see `garbage`
    cached, seen, used           copies of other registries' content: see `cached`
    activity                     who did what: see `activity`
    descriptions                 what people wrote about a repository: see `browsing`
    quotas                       how much a namespace may hold: see `quotas`
    replication                  what is to go to other registries: see `replication`
    jobs                         who does what beside the requests: see `joblocks`

Content itself is in the blob store.

    catalog ── uploads, quotas    the questions and the changes
       │
    opening                finds the engine that a place needs
    sqlite, postgresql     what they are asked of: a file of one process, or a server that several share
       │
    model, statements, steps    values and the joint · SQL that every engine runs · the tables, step by step

    contents               what a table names, a little at a time: for whoever goes through all of it
"""

from .catalog import Catalog
from .model import Document, Referrer, Stored, Upload, UploadLimits, WriteConditions
from .opening import is_url, open_database, place_of
from .quotas import Quota, QuotaExceeded, Quotas
from .sqlite import SqliteDatabase

__all__ = [
    "Catalog", "Document", "Quota", "QuotaExceeded", "Quotas", "Referrer", "SqliteDatabase", "Stored",
    "Upload", "UploadLimits", "WriteConditions", "is_url", "open_database", "place_of",
]  # fmt: skip
