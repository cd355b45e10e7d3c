"""Normalizes a training setup: functions of flat lists of arrays, whatever trees, objects and keys the user has."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hae_jax.doctor.inputs.arrays import Arrays, Structure, flatten, is_trainable
from hae_jax.doctor.inputs.batches import collect
from hae_jax.doctor.inputs.setup import SetupError, TrainingSetup, format_error
from hae_jax.doctor.inputs.signatures import adapt, loss_value, train_switch

DEFAULT_RATE = 1e-3
"""Learning rate of the Adam that replaces a missing optimizer."""
UNTRACED = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""Errors that JAX raises where a function needs the value of a traced array."""


@dataclasses.dataclass
class NormalizedSetup:
    """A setup in the form that probes work with.

    Attributes:
        original: the setup as the user gave it.
        params: the trainable arrays.
        structure: how they are put back.
        batches: arrays of each batch; all of the same shapes.
        batch_structure: how those are put back.
        key: a random key of the kind that the loss takes.
        loss: of parameters, fields and key.
        evaluate: the same without noise, if there is such a switch or function; else None.
        optimizer: the user's, or the one that replaces it.
        notes: remarks for the user.
    """

    original: TrainingSetup
    params: Arrays
    structure: Structure
    batches: list[Arrays]
    batch_structure: Structure
    key: Any
    loss: Callable[..., Any]
    evaluate: Callable[..., Any] | None
    optimizer: Any
    notes: list[str]

    def user_function(self, name: str) -> Callable[..., Any] | None:
        """Returns one of the user's optional functions, of parameters, fields, key, and what precedes the batch."""
        function = getattr(self.original, name)
        if function is None:
            return None
        adapted = adapt(function, 3 + (name == "decode_loss"))

        def call(params: Arrays, fields: Arrays, key: Any, *before: Any) -> Any:
            return adapted(self.structure.build(params), *before, self.batch_structure.build(fields), key)

        return call

    def build_batches(self) -> list[Any]:
        """Returns all batches as the user's functions take them."""
        return [self.batch_structure.build(batch) for batch in self.batches]


def normalize(setup: TrainingSetup) -> NormalizedSetup:
    """Normalizes a setup.

    Raises:
        SetupError: if there are no parameters or batches, or the loss does not return a number.
    """
    notes = list(setup.notes)
    params, structure = flatten(setup.params, is_trainable)
    if not params:
        raise SetupError(
            "no-parameters", "params must hold arrays of real numbers, got none. Give what is to be trained."
        )
    params = [jnp.asarray(leaf) for leaf in params]
    batches, batch_structure = collect(setup.batches, notes)

    def flat(function: Callable[..., Any], **switch: Any) -> Callable[..., Any]:
        adapted = adapt(function, 3, **switch)

        def call(params: Arrays, fields: Arrays, key: Any) -> Any:
            value = jnp.asarray(loss_value(adapted(structure.build(params), batch_structure.build(fields), key)))
            if value.shape:
                raise ValueError(f"loss must be a single number, got shape {value.shape}. Take its mean.")
            return value.astype(jnp.float32) if jnp.issubdtype(value.dtype, jnp.integer) else value

        return call

    switch = train_switch(setup.loss)
    loss = flat(setup.loss, **switch)
    evaluate = None
    if setup.evaluate is not None:
        evaluate = flat(setup.evaluate)
    elif switch:
        evaluate = flat(setup.loss, **train_switch(setup.loss, train=False))
    optimizer = setup.optimizer
    if optimizer is None:
        optimizer = optax.adam(DEFAULT_RATE)
        notes.append(f"no optimizer was given; Adam with learning rate {DEFAULT_RATE:g} is used")
    elif not hasattr(optimizer, "init"):
        # Flax's `nnx.Optimizer` and `TrainState` hold one.
        optimizer = getattr(optimizer, "tx", optimizer)
    key = accepted_key(loss, params, batches[0], setup.seed)
    return NormalizedSetup(setup, params, structure, batches, batch_structure, key, loss, evaluate, optimizer, notes)


def accepted_key(loss: Callable[..., Any], params: Arrays, batch: Arrays, seed: int) -> Any:
    """Returns a random key that the loss accepts, typed or legacy.

    Raises:
        SetupError: if the loss fails with both.
    """
    errors: list[Exception] = []
    for make in (jax.random.key, jax.random.PRNGKey):
        key = make(seed)
        try:
            jax.eval_shape(loss, params, [jnp.asarray(leaf) for leaf in batch], key)
            return key
        except Exception as error:
            # Whatever a user's function raises is for the report.
            errors.append(error)
    untraced = [error for error in errors if isinstance(error, UNTRACED)]
    repair = "Write it with jax.numpy so that jax.jit takes it" if untraced else "Call it by hand with this batch"
    got = format_error([*untraced, *errors][0])
    raise SetupError("loss-fails", f"loss must return a number, got {got}. {repair}.")
