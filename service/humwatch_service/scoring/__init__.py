"""The score of one recording: its upload, its place in the queue, its answer and its picture."""
