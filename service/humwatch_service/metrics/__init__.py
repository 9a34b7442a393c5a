"""The metrics: which there are, their series, and how they are exposed."""
