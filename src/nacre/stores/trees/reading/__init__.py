"""Files of layers without mounting them."""
