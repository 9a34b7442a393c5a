"""The command line ``humwatch-train``, a module for each command."""
