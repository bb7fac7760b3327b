"""Floor 2: the only floor that touches the kernel and files."""
