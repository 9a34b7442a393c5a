"""Monitor of a live stream: one observation a second, whatever happens to the source."""
