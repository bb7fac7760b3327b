"""What stays with a container that runs; loads little, because it stays for long."""
