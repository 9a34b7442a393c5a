"""A live stream, followed: one observation a second, whatever becomes of the source."""
