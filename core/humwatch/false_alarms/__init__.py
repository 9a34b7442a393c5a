"""False alarms a week: what a rule is expected to raise on a machine's own normal sound, and limits that keep to it."""
