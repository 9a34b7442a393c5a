"""Bundle of a model: its manifest, its files, and the folder of all versions."""
