"""Humwatch's service: recordings in by HTTP or from the command line, calibrated scores out."""
