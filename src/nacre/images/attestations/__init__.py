"""What an image says of itself to others: what is in it (SBOM), and how it was made (provenance)."""
