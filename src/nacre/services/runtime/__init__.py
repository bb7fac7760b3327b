"""The operations of the OCI runtime-spec on containers that are known by id beneath one folder."""
