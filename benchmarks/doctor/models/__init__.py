"""Small autoencoders as users write them, each with a switch for every fault."""
