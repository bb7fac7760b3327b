"""The network of a container: links, addresses, rules and names, told to the kernel by netlink."""
