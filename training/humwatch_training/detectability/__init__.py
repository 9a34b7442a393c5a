"""Faults that a model detects, mixed into held-out normal sound."""
