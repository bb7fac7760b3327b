"""Where images are: registries, layouts, archives, daemons, the store, this machine."""
