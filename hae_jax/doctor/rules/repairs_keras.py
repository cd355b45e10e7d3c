"""Repairs in the words of Keras: the line to change, by cause."""

CHANGES: dict[str, str] = {}
"""Causes without an entry are worded as for JAX."""
