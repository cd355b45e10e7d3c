"""Speed and memory beside Flax, Keras, Equinox and PyTorch."""
