"""Humwatch's training: from normal recordings to an attentive neural process."""
