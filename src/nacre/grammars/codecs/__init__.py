"""Compression of layers: read any form (`stream`), write those that registries take (`pack`)."""
