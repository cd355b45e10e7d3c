"""Autoencoders of continuous series."""
