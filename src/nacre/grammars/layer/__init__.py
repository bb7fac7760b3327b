"""What the entries of a layer mean: where each belongs, and what it hides."""
