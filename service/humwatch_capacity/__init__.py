"""Capacity of this machine in streams: the real service is started, played to, and measured from outside."""
