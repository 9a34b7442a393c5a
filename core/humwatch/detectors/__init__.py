"""The detectors, what each calls normal, and the share of false alarms that each may spend."""
