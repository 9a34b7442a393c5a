"""The live streams of machines: who may feed one, what is made of it, and what is kept of it."""
