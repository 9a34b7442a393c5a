"""Drift: whether the normal sound of a machine has moved since its calibration came into use, where, and since when."""
