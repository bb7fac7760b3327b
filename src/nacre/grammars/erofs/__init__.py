"""The index of a layer: EROFS metadata that points into its tar."""
