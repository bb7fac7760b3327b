"""Who sends a request, and whether they may: nothing is asked where the registry has no accounts.

authorization             one question for each request: let it through, or refuse it
  ├─ authentication       names with passwords, tokens in their place; how often one may fail
  ├─ bearer, tokens       the short-lived tokens (JWT), and where one gets them
  ├─ claims               what the registry signs for itself
  ├─ exchange, issuers    tokens of others, for CI jobs
  └─ identity             who it is, and what that may do where
"""

from .authorization import Authorization
from .identity import author_of, immutable_of, is_public, may_list, may_read, owner_of

__all__ = ["Authorization", "author_of", "immutable_of", "is_public", "may_list", "may_read", "owner_of"]
