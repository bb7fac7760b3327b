"""The registry client: a repository of any registry as a `Source` and a `Sink`.

client       Client, ClientConfig: one pool of connections, many registries
repository   resolve, fetch · has, mount, put, put_manifest · tags, delete, referrers
download     a blob over connections that break       upload   a blob out, resumed
session      endpoint, authorization, redirects, retries, what a status means
hosts        where a registry is, TLS or not          auth     challenges and tokens, without I/O
transport    one HTTP exchange; the only place that knows urllib3
retry        when to try again                        credentials  docker's config.json and helpers
"""

from .auth import Lookup
from .client import Client, ClientConfig
from .repository import Repository
from .retry import Policy
from .transport import Limits

__all__ = ["Client", "ClientConfig", "Limits", "Lookup", "Policy", "Repository"]
