"""Humwatch core: what a sound is, what a score is, what an alarm is.

Pure computation on numbers: no clock, no network, no globals. Files, live streams and training all pass
through :class:`humwatch.monitor.Monitor`, so that they cannot disagree.
"""
