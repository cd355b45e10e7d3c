"""Looks into fresh and trained models: how far gradients reach, and what theory says they should do."""
