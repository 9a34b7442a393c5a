"""What outlives the service: alarms, who did what, scores by the second, webhooks not delivered yet, and evidence.

``StateStore`` is the database, ``EvidenceFolder`` the sound and pictures beside it. Alarms and the audit trail are
kept for ever (a few kilobytes an alarm); scores, delivered webhooks and evidence have an end.
"""
