"""Floor 5: services, which never import each other."""
