"""The registry client: a repository of any registry as a `Source` and a `Sink`.

client       Client, ClientConfig: one pool of connections, many registries
repository   resolve, fetch · has, mount, put, put_manifest · tags, delete
mirrors      the same with places that are asked first    referrers  by the API, else by tag
download     a blob over connections that break           ranges     over several, when one is slow
upload       a blob out, resumed                          kept       also by another process
session      endpoint, authorization, redirects, retries, what a status means
hosts        where a registry is, TLS or not          auth     challenges and tokens, without I/O
transport    one HTTP exchange; the only place that knows urllib3          proxies     which one, and for whom
retry        when to try again                            throttle   bytes a second
credentials  docker's config.json and helpers             logins     all places where a user may be known
"""

from .auth import Lookup
from .client import Client, ClientConfig
from .repository import Repository
from .retry import Policy
from .transport import TransportLimits

__all__ = ["Client", "ClientConfig", "TransportLimits", "Lookup", "Policy", "Repository"]
