"""State that outlives the service: alarms, the audit trail, scores by the second, deliveries owed, and evidence.

``StateStore`` is the database, ``EvidenceFolder`` the sound and pictures beside it. Alarms and the audit trail are
kept for ever (a few kilobytes an alarm); scores, delivered webhooks and evidence have an end.
"""
