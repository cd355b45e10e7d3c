"""Measurements behind one door: `python -m benchmarks list | run NAME [--quick] [--force] | report`."""
