"""Predictions shared between requests: which of them run together, and which are remembered."""
