"""Training of one network: settings, budget, steps, checkpoints and the run folder."""
