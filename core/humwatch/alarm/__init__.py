"""The alarm of one machine: its rule, its states, and the events that come of scores."""
