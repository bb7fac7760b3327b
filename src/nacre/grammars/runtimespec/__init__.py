"""The documents of the OCI runtime-spec, checked: config.json, a process, resources; errors name fields."""

from .config import LARGEST, read_config, read_process, read_resources

__all__ = ["LARGEST", "read_config", "read_process", "read_resources"]
