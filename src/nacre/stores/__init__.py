"""Floor 3: durable state, one job each."""
