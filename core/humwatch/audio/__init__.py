"""Sound: decoded within limits, its level and quality, log-mel frames and windows."""
