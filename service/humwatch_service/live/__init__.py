"""Live streams: the protocol, the sessions, and what is known of each machine right now."""
