"""Inference: `texts` encodes and decodes text, `decoding` selects how codes are decoded, `evaluate` scores a model."""
