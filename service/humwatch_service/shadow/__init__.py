"""Candidates: versions that hear the live stream of a machine beside the one in use, and tell nobody."""
