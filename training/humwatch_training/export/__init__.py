"""Export of a trained network into a bundle: graph, parity with torch, calibration."""
