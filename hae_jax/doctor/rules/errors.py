"""Findings without a rule: why nothing more could be found."""

from typing import NamedTuple

from hae_jax.doctor.rules import BROKEN


class SetupRule(NamedTuple):
    """What stops an examination.

    Attributes:
        cause: its slug.
        sees: what its victims see.
        change: the repair.
        why: why that helps.
    """

    cause: str
    sees: str
    change: str
    why: str


SETUP_RULES = (
    SetupRule(
        "not-finite",
        "the loss or its gradient is NaN or infinite, though nothing is known that would make it so",
        BROKEN,
        "nothing can be learned from NaN: one such gradient makes NaN of all weights",
    ),
    SetupRule(
        "loss-fails",
        "there is no loss, it raises an error under `jax.jit`, or what it returns is not one number",
        "call loss(params, batch, key) by hand with the first batch; let it return the mean, and branch on shapes only",
        "without it nothing runs; what was raised stands in the evidence",
    ),
    SetupRule(
        "no-parameters",
        "params hold no array of real numbers: they are empty, or counters, functions, keys",
        "give what is to be trained, as `model.init` returned it or in a tree of your own",
        "what is not a real number has no gradient",
    ),
    SetupRule(
        "no-batches",
        "batches yield no array, or raise an error before the first one",
        "give a list of batches, or a function that makes them; an iterator that was used up yields none",
        "without data there is no loss to look at",
    ),
    SetupRule(
        "optimizer-fails",
        "the optimizer cannot begin with the parameters, or cannot take their gradient",
        "give what optax makes, optax.adam(1e-3) for example, and a tree of parameters that it knows",
        "nobody can train without it; what was raised stands in the evidence",
    ),
    SetupRule(
        "patient-fails",
        "what was given breaks when it is looked at, or something that should be a function is none",
        "give functions for loss, encode, logits and free_run, and leave out what you do not have",
        "what is no function cannot be asked",
    ),
)
"""In the order in which they are likely to be met."""
