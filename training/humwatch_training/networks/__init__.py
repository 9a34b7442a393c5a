"""Networks over windows of log-mel frames, and the questions that they can be asked."""
