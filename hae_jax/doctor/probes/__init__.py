"""Measurements, each a function from a chart to evidence."""
