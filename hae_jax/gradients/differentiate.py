"""The gradient of the training objective, and on its way the gradients of hidden states for those who watch."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from hae_jax.batch import AnyBatch
from hae_jax.config import ModelConfig
from hae_jax.models import Losses, objective


class Flow(NamedTuple):
    """What passed through the recurrent layers; trees as deep as the parameters', named as `LSTM` says.

    Attributes:
        hidden: dL/dh_t for every step of every layer.
        gates: the gates at every step, which steps are real, and what the layers were given.
    """

    hidden: PyTree
    gates: PyTree


class Derivative(NamedTuple):
    """The objective on a batch, and its derivatives.

    Attributes:
        objective: what training minimises.
        losses: its parts.
        gradient: its gradient with respect to the parameters.
        flow: None if nobody watches.
    """

    objective: Float[Array, ""]
    losses: Losses
    gradient: optax.Params
    flow: Flow | None


def differentiate(
    model: nn.Module,
    config: ModelConfig,
    params: optax.Params,
    batch: AnyBatch,
    key: Key[Array, ""],
    watch: bool = False,
) -> Derivative:
    """Differentiates the training objective of a batch.

    Hidden states are watched by adding zeros to them, and differentiating with respect to those as well: the backward
    pass has these gradients in hand anyway.

    Args:
        model: an autoencoder of `hae_jax.models`.
        config: weighs the auxiliary losses.
        params: the parameters.
        batch: the documents, or the series.
        key: randomness of dropout.
        watch: whether to return the flow.
    """

    def loss(params: optax.Params, zeros: PyTree):
        variables = {"params": params, "perturbations": zeros} if watch else {"params": params}
        losses, seen = model.apply(
            variables, batch, train=True, rngs={"dropout": key}, mutable=["gates"] if watch else []
        )  # type: ignore[misc]
        return objective(losses, config), (losses, seen)

    zeros = still(model, params, batch, key) if watch else None
    (value, (losses, seen)), (gradient, hidden) = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, zeros)
    return Derivative(value, losses, gradient, Flow(hidden, seen["gates"]) if watch else None)


def still(model: nn.Module, params: optax.Params, batch: AnyBatch, key: Key[Array, ""]) -> PyTree:
    """Returns the zeros that are added to the hidden states."""

    def run(params: optax.Params, batch: AnyBatch) -> PyTree:
        return model.apply({"params": params}, batch, train=True, rngs={"dropout": key}, mutable=["perturbations"])[1]

    shapes = jax.eval_shape(run, params, batch)["perturbations"]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
