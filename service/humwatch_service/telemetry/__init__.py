"""Logs and traces: what is written, how much of it, and what is hidden."""
