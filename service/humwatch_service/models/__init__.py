"""The models that are loaded, their versions and facts, and new ones made of recordings."""
