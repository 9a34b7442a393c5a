"""The wire of a live stream: messages, samples, limits, and how a detection is put into words."""
