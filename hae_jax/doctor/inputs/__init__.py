"""A user's training setup, normalized to functions of flat lists of arrays."""
