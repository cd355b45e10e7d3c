"""Implementations to compare with: layers of other libraries, and our models written in their APIs."""
