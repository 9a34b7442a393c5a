"""Sound on the disk: FLAC files in folders with a quota each."""
