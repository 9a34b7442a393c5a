"""How many streams the real service follows on this machine: it is started, played to, and measured from outside."""
