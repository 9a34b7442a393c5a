"""The models that are loaded: their versions, their facts as JSON, and a new one made of recordings."""
