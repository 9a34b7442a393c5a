"""The ``humwatch`` command: one module a command."""
