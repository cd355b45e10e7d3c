"""One step of training: `(state, batch, key) -> (state, info)`."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from hae_jax.batch import AnyBatch
from hae_jax.config import Config
from hae_jax.gradients.differentiate import Flow, value_and_grad, value_grad_and_flow
from hae_jax.gradients.update_ratio import sample_kernels, update_ratios
from hae_jax.training.optim import binding


class TrainState(NamedTuple):
    """State of training between steps, in arrays only; a checkpoint stores exactly this.

    Attributes:
        step: number of batches processed, including those of skipped steps.
        params: parameters of the model.
        opt_state: moments of the optimizer and statistics of the clip.
        skipped: number of consecutive non-finite steps up to now.
        skipped_total: number of non-finite steps of the whole run.
    """

    step: Int[Array, ""]
    params: optax.Params
    opt_state: optax.OptState
    skipped: Int[Array, ""]
    skipped_total: Int[Array, ""]


class StepInfo(NamedTuple):
    """Metrics of one step.

    Attributes:
        loss: mean negative log-likelihood in nats per token, teacher-forced.
        sentence_loss: the same, each sentence decoded from its own vector; None without that loss.
        vector_loss: mean squared distance per sentence of the decoder's sentence vectors from the encoder's; None
            without that loss.
        topic_loss: mean negative log-likelihood per document, in nats, of the words of a document and of the next one
            given the topic part of the code; None without that part.
        tokens: number of real tokens of the batch.
        norm: global norm of the gradient before clipping.
        binding: whether the clip changed the gradient.
        finite: whether loss and gradient were finite, so that the step was taken.
        first_nonfinite: index, among the leaves of the parameters, of the first one whose gradient is not finite; -1 if
            all are finite.
        statistics: result of the `statistics` of `make_step`; None without it.
    """

    loss: Float[Array, ""]
    sentence_loss: Float[Array, ""] | None
    vector_loss: Float[Array, ""] | None
    topic_loss: Float[Array, ""] | None
    tokens: Float[Array, ""]
    norm: Float[Array, ""]
    binding: Bool[Array, ""]
    finite: Bool[Array, ""]
    first_nonfinite: Int[Array, ""]
    statistics: PyTree = None


Statistics = Callable[[Flow, dict[str, Float[Array, ""]]], PyTree]
"""Computes statistics of a step from gradients and gates of all layers, and |update| / |weights| of each kernel."""

Sample = Float[Array, "kernel number"] | None
"""A sample of the weights of each kernel; None without statistics."""
Updated = tuple[optax.Params, optax.OptState, Sample]
"""Parameters and optimizer state after an update, and the change of the sample."""


@runtime_checkable
class TrainStep(Protocol):
    """A jitted training step."""

    def __call__(self, state: TrainState, batch: AnyBatch, key: Key[Array, ""]) -> tuple[TrainState, StepInfo]:
        """Makes a step; compiles for each new shape of batches."""

    def lower(self, state: TrainState, batch: AnyBatch, key: Key[Array, ""]) -> jax.stages.Lowered:
        """Traces the step for batches of this shape."""


def start(params: optax.Params, optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    # Three arrays instead of one shared zero, since each is donated separately.
    return TrainState(
        jnp.zeros((), jnp.int32), params, optimizer.init(params), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    )


def named_leaves(tree: PyTree) -> dict[str, PyTree]:
    """Returns the leaves of a tree by their paths, in the order of `StepInfo.first_nonfinite`.

    Example:
        >>> named_leaves({"encoder": {"word": {"kernel": 1, "bias": 2}}})
        {'encoder/word/bias': 2, 'encoder/word/kernel': 1}
    """
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def make_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    config: Config,
    mesh: Mesh | None = None,
    statistics: Statistics | None = None,
) -> TrainStep:
    """Returns the jitted training step of a model.

    The step differentiates the objective, clips the gradient, and updates the parameters. If the loss or any gradient
    is not finite, parameters, moments and clip statistics stay unchanged, bit for bit, and the step counts as skipped.
    A step whose update makes the parameters overflow, as only an extreme learning rate can, is taken, and counted with
    the skipped ones. The given state is donated: its buffers are reused by the returned one.

    Args:
        model: an autoencoder of `hae_jax.models`.
        optimizer: what `hae_jax.training.optim.build` returns.
        config: the run; `config.model` weights the auxiliary losses.
        mesh: devices over which the returned state is replicated; None for one device.
        statistics: computes further statistics within the same program; returned as `StepInfo.statistics`.

    Returns:
        A function of state, batch and the run's key; dropout uses the key folded with the number of the step.
    """

    def step(state: TrainState, batch: AnyBatch, key: Key[Array, ""]) -> tuple[TrainState, StepInfo]:
        dropout_key, flow = jax.random.fold_in(key, state.step), None
        if statistics is None:
            derivative = value_and_grad(model, config.model, state.params, batch, dropout_key)
        else:
            derivative, flow = value_grad_and_flow(model, config.model, state.params, batch, dropout_key)
        value, losses, gradient = derivative
        # A norm that overflows counts as non-finite: no clip can scale such a gradient.
        norms = jnp.stack([optax.tree.norm(leaf) for leaf in jax.tree.leaves(gradient)])
        finite_norms = jnp.isfinite(norms)

        # An operand of the in-place update: sampled after it, the old weights would have to be copied.
        before = None if statistics is None else sample_kernels(state.params)

        def take(params: optax.Params, opt_state: optax.OptState, before: Sample) -> Updated:
            updates, opt_state = optimizer.update(gradient, opt_state, params)
            params = optax.apply_updates(params, updates)
            return params, opt_state, None if before is None else sample_kernels(params) - before

        def skip(params: optax.Params, opt_state: optax.OptState, before: Sample) -> Updated:
            return params, opt_state, None if before is None else jnp.zeros_like(before)

        # Selecting between old and new values leaf by leaf would cost as much as the update itself.
        finite = jnp.isfinite(value) & jnp.all(finite_norms)
        params, opt_state, change = jax.lax.cond(finite, take, skip, state.params, state.opt_state, before)
        in_range = jnp.stack([jnp.isfinite(optax.tree.norm(leaf)) for leaf in jax.tree.leaves(params)])
        finite &= jnp.all(in_range)
        skipped, measured = jnp.where(finite, 0, 1), None
        if statistics is not None and flow is not None and before is not None and change is not None:
            measured = statistics(flow, update_ratios(params, before, change))
        info = StepInfo(
            loss=losses.reconstruction.mean,
            sentence_loss=None if losses.sentence is None else losses.sentence.mean,
            vector_loss=None if losses.vector is None else losses.vector.mean,
            topic_loss=None if losses.topic is None else losses.topic.mean,
            # In training every sentence is decoded once, either through the code or from its own vector.
            tokens=losses.reconstruction.count + (0 if losses.sentence is None else losses.sentence.count),
            norm=optax.tree.norm(norms),
            binding=binding(opt_state) & finite,
            finite=finite,
            first_nonfinite=jnp.where(jnp.all(finite_norms), -1, jnp.argmin(finite_norms)).astype(jnp.int32),
            statistics=measured,
        )
        streak = (state.skipped + skipped) * skipped
        return TrainState(state.step + 1, params, opt_state, streak, state.skipped_total + skipped), info

    replicated = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    return jax.jit(step, donate_argnums=0, out_shardings=replicated)
