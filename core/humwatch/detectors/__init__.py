"""Detectors: the normal range of each, and the share of false alarms that each may spend."""
