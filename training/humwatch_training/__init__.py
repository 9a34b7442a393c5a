"""Humwatch."""
