"""Runbooks: a package, so that they are installed with the service, which shows them."""
