"""Measurements of Humwatch's cost in time, beside that of the alternatives."""
