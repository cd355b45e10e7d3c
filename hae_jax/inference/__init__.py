"""A trained model at work: `texts` in and out, `generate` and `beam` for ids, `evaluate` for scores."""
