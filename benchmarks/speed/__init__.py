"""Speed and memory compared with Flax, Keras and PyTorch."""
