"""`[storage]`: where content is, unless in the registry's folder."""

from __future__ import annotations

from ...words.rules import StorageRules
from .kind import DURATION, FLAG, PATH, SECRET, TEXTS
from .table import ConfigKey, ConfigTable

_HELP = "Where content is, unless in the folder: see [registry-storage.md](registry-storage.md)."
TABLE = ConfigTable("storage", ("rules", "storage"), StorageRules, _HELP, (
    ConfigKey("url", "Bucket and prefix: `s3://`, `gs://` or `az://`", flag="storage"),
    ConfigKey("endpoint", "URL of the object store, if it is not the usual one", flag="storage_endpoint"),
    ConfigKey("region", "Region of an S3 store"),
    ConfigKey("virtual-hosts", "The bucket is part of the host's name, not of the path", FLAG),
    ConfigKey("certificates", "Certificates of authorities (PEM) that sign the store's", PATH),
    ConfigKey("redirect", "Let clients fetch large blobs from the store themselves", FLAG,
              flag="storage_redirect"),
    ConfigKey("expires", "How long the URLs hold by which they do, at most `1h`", DURATION),
    ConfigKey("access-key", "Access key of S3; none: what the environment says"),
    ConfigKey("secret-key", "Secret key of S3", SECRET),
    ConfigKey("options", "Further settings of obstore, as `NAME=VALUE`", TEXTS),
))  # fmt: skip
