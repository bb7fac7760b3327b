"""Files that describe many builds at once: HCL, JSON and compose files, as buildx reads them."""
