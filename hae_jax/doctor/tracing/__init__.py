"""A traced loss as a flat program that can be run again, recorded and changed."""
