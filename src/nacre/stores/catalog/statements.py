"""Statements that every engine runs as they are: no words that only one of them knows."""

from __future__ import annotations

FIND = "SELECT id FROM repositories WHERE name = ?"
HELD = """SELECT 1 FROM blobs WHERE digest = ?1 UNION ALL SELECT 1 FROM manifests WHERE digest = ?1
    UNION ALL SELECT 1 FROM removed WHERE digest = ?1 AND kind != 'tag'"""
NAMED = """SELECT 1 FROM tags WHERE repository = ?1 AND digest = ?2
    UNION ALL SELECT 1 FROM parts WHERE repository = ?1 AND digest = ?2"""
BY_TAG = """
    SELECT m.digest, m.media_type, m.size FROM tags t JOIN repositories r ON r.id = t.repository
    JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest WHERE r.name = ? AND t.tag = ?"""
BY_DIGEST = """
    SELECT m.digest, m.media_type, m.size FROM repositories r
    JOIN manifests m ON m.repository = r.id WHERE r.name = ? AND m.digest = ?"""
MANIFEST = "SELECT 1 FROM manifests WHERE repository = ? AND digest = ?"
BLOB_SIZE = """
    SELECT b.size FROM blobs b JOIN repositories r ON r.id = b.repository WHERE r.name = ? AND b.digest = ?"""
UNUSED = """EXISTS (SELECT 1 FROM unused u WHERE u.repository = {0}.repository
    AND u.digest = {0}.digest AND u.kind = '{1}')"""
NOTED = {
    BY_TAG: BY_TAG.replace(" FROM", f", {UNUSED.format('m', 'manifests')} FROM", 1),
    BY_DIGEST: BY_DIGEST.replace(" FROM", f", {UNUSED.format('m', 'manifests')} FROM", 1),
    BLOB_SIZE: BLOB_SIZE.replace(" FROM", f", {UNUSED.format('b', 'blobs')} FROM", 1),
}
"""The same questions, and last whether a collection of garbage has noted what was found."""
KEEP_USED = "DELETE FROM unused WHERE repository = ? AND digest = ? AND kind = ?"
REPOSITORIES = "SELECT name FROM repositories WHERE name > ? ORDER BY name LIMIT ?"
TAGS = """
    SELECT tag FROM tags WHERE repository = (SELECT id FROM repositories WHERE name = ?1)
    AND lower(tag) >= lower(?2) AND (lower(tag), tag) > (lower(?2), ?2) ORDER BY lower(tag), tag LIMIT ?3"""
REFERRERS = """
    SELECT digest, media_type, size, artifact_type, annotations FROM manifests
    WHERE repository = (SELECT id FROM repositories WHERE name = ?1) AND subject = ?2 AND subject != ''
    AND digest > ?3 AND (?4 = '' OR artifact_type = ?4) ORDER BY digest LIMIT ?5"""
PART_SIZE = """
    SELECT size FROM blobs WHERE repository = ?1 AND digest = ?2
    UNION ALL SELECT size FROM manifests WHERE repository = ?1 AND digest = ?2"""
CHILDREN = """
    SELECT p.digest FROM parts p JOIN manifests m ON m.repository = p.repository AND m.digest = p.digest
    WHERE p.repository = ? AND p.manifest = ?"""
REFERRING = "SELECT digest FROM manifests WHERE repository = ? AND subject = ? AND subject != ''"
COPY = "SELECT 1 FROM cached WHERE repository = ?"
NEEDED_BY = "SELECT manifest FROM parts WHERE repository = ? AND digest = ? LIMIT 1"
TAGGED = "SELECT digest FROM tags WHERE repository = ? AND tag = ?"
TAGGED_OTHERWISE = "SELECT digest FROM tags WHERE repository = ? AND tag = ? AND digest != ?"

ADD_REPOSITORY = "INSERT INTO repositories (name) VALUES (?) ON CONFLICT DO NOTHING"
LINK_BLOB = """
    INSERT INTO blobs (repository, digest, size, added) VALUES (?, ?, ?, ?)
    ON CONFLICT (repository, digest) DO UPDATE SET size = excluded.size, added = excluded.added"""
# not REPLACE: that would delete the row first, and its tags with it
PUT_MANIFEST = """
    INSERT INTO manifests (repository, digest, size, media_type, subject, artifact_type, annotations, added)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (repository, digest)
    DO UPDATE SET size = excluded.size, media_type = excluded.media_type, subject = excluded.subject,
        artifact_type = excluded.artifact_type, annotations = excluded.annotations, added = excluded.added"""
ADD_PART = "INSERT INTO parts (repository, manifest, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
SET_TAG = """
    INSERT INTO tags (repository, tag, digest, updated) VALUES (?, ?, ?, ?)
    ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest, updated = excluded.updated"""

BEGIN_UPLOAD = "INSERT INTO uploads (id, repository, touched, owner, algorithm) VALUES (?, ?, ?, ?, ?)"
TOUCH_UPLOAD = "UPDATE uploads SET touched = ?, received = ? WHERE id = ?"
UPLOAD = "SELECT repository, owner, algorithm FROM uploads WHERE id = ?"
END_UPLOAD = "DELETE FROM uploads WHERE id = ?"
IDLE_UPLOADS = "SELECT id FROM uploads WHERE touched < ?"
BUSIEST = "SELECT owner FROM uploads GROUP BY owner ORDER BY count(*) DESC"
GIVING_WAY = """
    SELECT id FROM uploads WHERE owner = ? AND (received = 0 OR touched < ?) ORDER BY received > 0, touched"""
