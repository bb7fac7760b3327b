"""Floor 4: what images mean; pure where possible."""
