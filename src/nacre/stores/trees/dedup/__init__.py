"""Equal files stored once: a layer points to contents that the tars of other layers hold already."""
