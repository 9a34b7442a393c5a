"""Comparison of systems on a data set: trained, exported, scored, tabled and drawn."""
