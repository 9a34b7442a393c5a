"""What Humwatch costs in time, measured beside what it is compared with."""
