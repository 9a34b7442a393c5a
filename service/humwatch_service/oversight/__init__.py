"""After a version came into use: has its normal moved, and are its false alarms as many as were promised."""
