"""A traced loss as a flat jaxpr that can be evaluated again, recorded, perturbed and edited."""
