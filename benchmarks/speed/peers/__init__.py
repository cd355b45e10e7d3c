"""What we are compared with: other people's layers and our own models written with their means."""
