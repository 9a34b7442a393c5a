"""Fit of a calibration to normal sound, of recordings or of a live stream."""
