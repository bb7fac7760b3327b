"""Floor 1: text or bytes to values and back, no input or output of their own."""
