"""Gradients in hierarchical LSTMs: measured through time and across levels, and predicted by mean-field theory."""
