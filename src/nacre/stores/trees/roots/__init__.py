"""How a root is shown: mounted by the kernel, or laid out as files."""
