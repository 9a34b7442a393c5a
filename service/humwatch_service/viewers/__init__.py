"""Viewers of live machines: how many there may be, and what each of them is sent."""
