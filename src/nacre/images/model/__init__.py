"""What an image is: a view of content, its edits, platforms and runtime, and what sources and sinks are."""
