"""What a store holds: checked, repaired, measured, explored, compared."""
