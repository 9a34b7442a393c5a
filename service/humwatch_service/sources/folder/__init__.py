"""A folder that another program writes recordings into: what is in it, and what was heard of it and when."""
