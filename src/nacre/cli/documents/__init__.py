"""What `inspect`, `version` and `info` print: docker's documents, with every field that docker prints."""
