"""Who may do what at a registry: people, teams, rights, tokens; in the registry's own database.

    schema ── migrations      the tables, by SQLAlchemy and Alembic
      │
    administration            changes, one transaction each, each noted in the audit log
    reading                   what the server asks at each request: plain statements, no SQLAlchemy
      │
    model                     the values of both

A registry without these tables is open: everybody may do everything. The first account closes it for good.
"""
