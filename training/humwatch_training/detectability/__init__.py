"""The faults that a model would hear, mixed into held-out normal sound."""
