"""Alarm of one machine: its rule, its states, and the events that follow from scores."""
