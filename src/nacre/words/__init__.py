"""Floor 0: pure values, standard library only, no input or output."""
