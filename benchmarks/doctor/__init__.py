"""Accuracy of the doctor on injected faults and on models from public threads."""
