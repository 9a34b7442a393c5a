"""Score: evidence of windows, pooled over time, measured against a calibration, explained."""
