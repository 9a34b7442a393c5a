"""Condition of a live source: its clock, its level, and the faults of its sound."""
