"""The condition of a source that is followed: its clock, and the faults of its sound."""
