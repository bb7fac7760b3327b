"""What package managers and compilers leave in a root file system about what is installed there."""
