"""How a layer is kept: unpacked in a folder, or as its tar and an index of it."""
