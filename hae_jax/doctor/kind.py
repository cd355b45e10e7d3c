"""What kind of model a traced loss is."""

KINDS = (
    "autoencoder", "seq2seq", "language model", "forecaster", "classifier", "regressor", "VAE", "unknown",
)  # fmt: skip
"""All kinds of models."""
