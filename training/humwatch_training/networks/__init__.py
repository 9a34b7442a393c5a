"""Networks over windows of log-mel frames, and the strategies of their predictions."""
