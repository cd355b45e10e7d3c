"""Oracles, stubs and small data shared by the tests."""
