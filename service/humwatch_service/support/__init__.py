"""The checks of an installation, and the bundle for whoever helps with it."""
