"""HTTP routes: they translate between HTTP and the parts that decide."""
