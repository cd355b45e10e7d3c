"""Findings without a rule: parts of a setup that do not work, so that nothing more can be examined."""

from typing import NamedTuple

from hae_jax.doctor.rules import NOT_FINITE_REPAIR


class SetupRule(NamedTuple):
    """A cause that ends an examination.

    Attributes:
        cause: its slug.
        symptom: what users observe.
        change: the repair.
        why: why that helps.
    """

    cause: str
    symptom: str
    change: str
    why: str


SETUP_RULES = (
    SetupRule(
        "not-finite",
        "the loss or its gradient is NaN or infinite, and no rule explains it",
        NOT_FINITE_REPAIR,
        "one gradient with NaN makes all weights NaN",
    ),
    SetupRule(
        "loss-fails",
        "there is no loss, it raises an error under `jax.jit`, or it does not return a single number",
        "call loss(params, batch, key) by hand with the first batch; return the mean, and branch on shapes only",
        "nothing can be examined without a loss; the error is part of the evidence",
    ),
    SetupRule(
        "no-parameters",
        "params hold no array of real numbers: they are empty, or hold counters, functions or keys",
        "give what is to be trained, as returned by `model.init` or as any other tree",
        "only real numbers have gradients",
    ),
    SetupRule(
        "no-batches",
        "batches yield no array, or raise an error before the first one",
        "give a list of batches, or a function that makes them; an exhausted iterator yields none",
        "the loss cannot be computed without data",
    ),
    SetupRule(
        "optimizer-fails",
        "the optimizer cannot be initialized with the parameters, or cannot take their gradient",
        "give an optax optimizer, for example optax.adam(1e-3), and a tree of parameters that it accepts",
        "nothing can be trained without an optimizer; the error is part of the evidence",
    ),
    SetupRule(
        "patient-fails",
        "an attribute of the setup raises an error when it is read, or what should be a function is not callable",
        "give functions for loss, encode, logits and free_run, and leave out what does not exist",
        "only functions can be called",
    ),
)
"""In the order of their likelihood."""
