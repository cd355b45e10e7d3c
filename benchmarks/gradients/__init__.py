"""Gradients across initializations: theory, measurement, and which of them train."""
