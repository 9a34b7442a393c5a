"""The settings: what can be set, where a value comes from, and which of them are secret."""
