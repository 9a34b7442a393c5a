"""One stream of one machine: its buffer, its clocks, its samples in time, its scores."""
