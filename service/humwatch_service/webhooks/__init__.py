"""Webhooks: alarms posted to other systems, signed, at least once, each webhook for itself."""
