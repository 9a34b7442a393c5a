"""Predictors around a predictor: one for many callers, one that keeps what it predicted, one that times its runs."""
