"""The wire of a live stream: messages, samples, limits, and detections in words."""
