"""Gradients of the training objective with respect to parameters, and optionally to all hidden states."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from hae_jax.batch import AnyBatch
from hae_jax.config import ModelConfig
from hae_jax.models import Losses, objective


class Derivative(NamedTuple):
    """The objective on a batch, and its gradient.

    Attributes:
        objective: the weighted sum of losses that training minimizes.
        losses: its parts.
        gradient: its gradient with respect to the parameters.
    """

    objective: Float[Array, ""]
    losses: Losses
    gradient: optax.Params


class Flow(NamedTuple):
    """Gradients and activations of the recurrent layers, as trees of the structure of the parameters.

    Attributes:
        hidden: dL/dh_t at every step of every layer; the leaves are named as in `LSTM`.
        gates: gates at every step, masks and inputs of every layer.
    """

    hidden: PyTree
    gates: PyTree


def value_and_grad(
    model: nn.Module, config: ModelConfig, params: optax.Params, batch: AnyBatch, key: Key[Array, ""]
) -> Derivative:
    """Differentiates the training objective of a batch with respect to the parameters.

    Args:
        model: an autoencoder of `hae_jax.models`.
        config: weights of the auxiliary losses.
        params: the parameters.
        batch: the documents, or the series.
        key: PRNG key of dropout.
    """

    def loss(params: optax.Params):
        losses = model.apply({"params": params}, batch, train=True, rngs={"dropout": key})
        return objective(losses, config), losses  # type: ignore[arg-type]

    (value, losses), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    return Derivative(value, losses, gradient)


def value_grad_and_flow(
    model: nn.Module, config: ModelConfig, params: optax.Params, batch: AnyBatch, key: Key[Array, ""]
) -> tuple[Derivative, Flow]:
    """Differentiates the training objective with respect to the parameters and all hidden states.

    The hidden states are perturbed by zeros, and the objective is differentiated with respect to these. The backward
    pass computes these gradients in any case, so they add little cost. The arguments are those of `value_and_grad`.
    """

    def loss(params: optax.Params, perturbations: PyTree):
        variables = {"params": params, "perturbations": perturbations}
        losses, sown = model.apply(variables, batch, train=True, rngs={"dropout": key}, mutable=["gates"])
        return objective(losses, config), (losses, sown["gates"])  # type: ignore[arg-type]

    zeros = zero_perturbations(model, params, batch, key)
    (value, (losses, gates)), (gradient, hidden) = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, zeros)
    return Derivative(value, losses, gradient), Flow(hidden, gates)


def zero_perturbations(model: nn.Module, params: optax.Params, batch: AnyBatch, key: Key[Array, ""]) -> PyTree:
    """Returns zeros with the structure of the model's perturbations."""

    def run(params: optax.Params, batch: AnyBatch) -> PyTree:
        return model.apply({"params": params}, batch, train=True, rngs={"dropout": key}, mutable=["perturbations"])[1]

    shapes = jax.eval_shape(run, params, batch)["perturbations"]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
