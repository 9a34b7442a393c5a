"""A folder that another program writes recordings into: what is in it, what was heard of it, and when that was taken."""
