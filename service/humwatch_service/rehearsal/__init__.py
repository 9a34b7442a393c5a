"""A rehearsal: a rule tried on recordings, without a server."""
