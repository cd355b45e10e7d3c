"""Small autoencoders as users write them, each with injectable faults."""
