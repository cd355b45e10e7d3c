"""Probes: measurements, each a function from a ProbeContext to evidence."""
