"""The tables of a catalog, made step by step: a database of version N has had the first N steps.

Every engine runs the same text. It is SQLite's SQL with the types INTEGER (64 bits), REAL (64 bits), TEXT
(compared by its bytes) and BLOB; `id INTEGER PRIMARY KEY` numbers rows by itself, `WITHOUT ROWID` keeps rows
in the order of the key. A step that has been released is never changed: add another one.
"""

from __future__ import annotations

_NAMES = """
CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE blobs (
    repository INTEGER NOT NULL REFERENCES repositories, digest TEXT NOT NULL, size INTEGER NOT NULL,
    added REAL NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX blobs_digest ON blobs (digest);
CREATE TABLE manifests (
    repository INTEGER NOT NULL REFERENCES repositories, digest TEXT NOT NULL, size INTEGER NOT NULL,
    media_type TEXT NOT NULL, subject TEXT NOT NULL, artifact_type TEXT NOT NULL,
    annotations TEXT NOT NULL, added REAL NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX manifests_digest ON manifests (digest);
CREATE INDEX manifests_subject ON manifests (repository, subject, digest) WHERE subject != '';
CREATE TABLE parts (
    repository INTEGER NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, manifest, digest),
    FOREIGN KEY (repository, manifest) REFERENCES manifests ON DELETE CASCADE) WITHOUT ROWID;
CREATE INDEX parts_digest ON parts (repository, digest);
CREATE TABLE tags (
    repository INTEGER NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, updated REAL NOT NULL,
    PRIMARY KEY (repository, tag),
    FOREIGN KEY (repository, digest) REFERENCES manifests ON DELETE CASCADE) WITHOUT ROWID;
CREATE INDEX tags_digest ON tags (repository, digest);
CREATE TABLE uploads (id TEXT PRIMARY KEY, repository TEXT NOT NULL, touched REAL NOT NULL) WITHOUT ROWID;
"""
_OWNERS = """
ALTER TABLE uploads ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE uploads ADD COLUMN received INTEGER NOT NULL DEFAULT 0;
ALTER TABLE uploads ADD COLUMN algorithm TEXT NOT NULL DEFAULT 'sha256';
CREATE INDEX uploads_owner ON uploads (owner, touched);
"""
_UNUSED = """
CREATE TABLE unused (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (repository, digest, kind)) WITHOUT ROWID;
CREATE INDEX unused_since ON unused (kind, since);
"""
_ACTIVITY = """
CREATE TABLE activity (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, client TEXT NOT NULL,
    action TEXT NOT NULL, repository TEXT NOT NULL, reference TEXT NOT NULL, digest TEXT NOT NULL,
    former TEXT NOT NULL);
CREATE INDEX activity_repository ON activity (repository, id);
CREATE TABLE jobs (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL, ended REAL NOT NULL) WITHOUT ROWID;
"""
_ORDER = """
DROP INDEX IF EXISTS tags_order;
CREATE INDEX tags_in_order ON tags (repository, lower(tag), tag);
"""
_DESCRIPTIONS = """
CREATE TABLE descriptions (
    repository INTEGER NOT NULL REFERENCES repositories, summary TEXT NOT NULL, readme TEXT NOT NULL,
    updated REAL NOT NULL, author TEXT NOT NULL, PRIMARY KEY (repository)) WITHOUT ROWID;
CREATE INDEX tags_updated ON tags (repository, updated, tag);
"""
_BUCKET = """
CREATE TABLE contents (
    digest TEXT PRIMARY KEY, key TEXT NOT NULL, size INTEGER NOT NULL, tag TEXT NOT NULL,
    damaged INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX contents_key ON contents (key);
CREATE TABLE upload_parts (
    upload TEXT NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL, key TEXT NOT NULL, tag TEXT NOT NULL,
    PRIMARY KEY (upload, start)) WITHOUT ROWID;
CREATE INDEX upload_parts_key ON upload_parts (key);
CREATE TABLE discarded (key TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX discarded_since ON discarded (since);
CREATE TABLE bucket (name TEXT PRIMARY KEY, listed REAL NOT NULL) WITHOUT ROWID;
"""
_QUOTAS = """
CREATE TABLE quotas (
    namespace TEXT NOT NULL, most INTEGER NOT NULL, used INTEGER NOT NULL, counted REAL NOT NULL,
    PRIMARY KEY (namespace)) WITHOUT ROWID;
"""
_REMOVED = """
CREATE TABLE removed (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, repository TEXT NOT NULL,
    kind TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, record TEXT NOT NULL);
CREATE INDEX removed_at ON removed (at);
CREATE INDEX removed_digest ON removed (digest, kind);
CREATE INDEX removed_repository ON removed (repository, kind, tag);
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_CACHED = """
CREATE TABLE cached (repository INTEGER PRIMARY KEY REFERENCES repositories, upstream TEXT NOT NULL);
CREATE TABLE seen (
    name TEXT NOT NULL, digest TEXT NOT NULL, since REAL NOT NULL, PRIMARY KEY (name, digest)) WITHOUT ROWID;
CREATE TABLE used (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, used REAL NOT NULL,
    PRIMARY KEY (repository, digest)) WITHOUT ROWID;
"""
_REPLICATION = """
CREATE TABLE replication (
    rule TEXT NOT NULL, repository TEXT NOT NULL, reference TEXT NOT NULL, number INTEGER NOT NULL,
    tries INTEGER NOT NULL, again REAL NOT NULL, since REAL NOT NULL, error TEXT NOT NULL,
    digest TEXT NOT NULL, at REAL NOT NULL, flaps INTEGER NOT NULL,
    PRIMARY KEY (rule, repository, reference)) WITHOUT ROWID;
CREATE INDEX replication_waiting ON replication (rule, number) WHERE number > 0;
"""
_TRACE = """
ALTER TABLE activity ADD COLUMN trace TEXT NOT NULL DEFAULT '';
"""
STEPS = (
    _NAMES,
    _OWNERS,
    _UNUSED,
    _ACTIVITY,
    _ORDER,
    _DESCRIPTIONS,
    _BUCKET,
    _QUOTAS,
    _REMOVED,
    _CACHED,
    _REPLICATION,
    _TRACE,
)
VERSION = len(STEPS)
