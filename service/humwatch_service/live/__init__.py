"""Live streams of machines: their admission, their scoring, and what is kept of them."""
