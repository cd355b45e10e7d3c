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
from hae_jax.gradients.differentiate import Derivative, differentiate
from hae_jax.training.optim import binding


class TrainState(NamedTuple):
    """What the next step needs; arrays only, so that it is the checkpoint.

    Attributes:
        step: batches seen, those of skipped steps included.
        params: the model's parameters.
        opt_state: the optimizer's moments and the clip's statistics.
        skipped: non-finite steps in a row, up to now.
        skipped_total: non-finite steps of the whole run.
    """

    step: Int[Array, ""]
    params: optax.Params
    opt_state: optax.OptState
    skipped: Int[Array, ""]
    skipped_total: Int[Array, ""]


class StepInfo(NamedTuple):
    """What a person needs.

    Attributes:
        loss: nats a token, teacher forced.
        sentence_loss: nats a token, each sentence decoded from its own vector; None without that loss.
        vector_loss: squared distance a sentence of the decoder's vectors from the encoder's; None without that loss.
        tokens: real tokens of the batch.
        norm: global norm of the gradient before clipping.
        binding: whether the clip changed the gradient.
        finite: whether the loss and the whole gradient were finite, and so the step was taken.
        culprit: place, among the leaves of the parameters, of the first one whose gradient is not finite; -1 if none.
        seen: what the watch of `make_step` made of the step; None without one.
    """

    loss: Float[Array, ""]
    sentence_loss: Float[Array, ""] | None
    vector_loss: Float[Array, ""] | None
    tokens: Float[Array, ""]
    norm: Float[Array, ""]
    binding: Bool[Array, ""]
    finite: Bool[Array, ""]
    culprit: Int[Array, ""]
    seen: PyTree = None


Watch = Callable[[Derivative, dict[str, Float[Array, ""]]], PyTree]
"""Looks at the derivative, and at |update| / |weights| of each kernel, by its path."""

NUMBERS = 1 << 13
"""Numbers of a kernel on which its update is measured."""
Sample = Float[Array, "kernel number"] | None
"""So many numbers of each kernel; None if nobody watches."""
Updated = tuple[optax.Params, optax.OptState, Sample]
"""Parameters and optimizer after an update, and the difference that it made to a sample."""


@runtime_checkable
class TrainStep(Protocol):
    """A jitted step."""

    def __call__(self, state: TrainState, batch: AnyBatch, key: Key[Array, ""]) -> tuple[TrainState, StepInfo]:
        """Makes a step; compiles at the first batch of a shape."""

    def lower(self, state: TrainState, batch: AnyBatch, key: Key[Array, ""]) -> jax.stages.Lowered:
        """Traces the step for batches of this shape."""


def start(params: optax.Params, optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    # Three arrays, not one thrice: each is donated by itself.
    return TrainState(
        jnp.zeros((), jnp.int32), params, optimizer.init(params), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    )


def named(tree: PyTree) -> dict[str, PyTree]:
    """Names the leaves of a tree by their paths, in the order in which `StepInfo.culprit` counts them.

    Example:
        >>> named({"encoder": {"word": {"kernel": 1, "bias": 2}}})
        {'encoder/word/bias': 2, 'encoder/word/kernel': 1}
    """
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def sample(params: optax.Params) -> Float[Array, "kernel number"]:
    """Returns evenly spread numbers of every kernel; vectors are left out, for fresh biases have no scale.

    All numbers would have to be read from memory once more, which on a CPU costs more than all else that is watched.
    """

    def some(kernel: Float[Array, "..."]) -> Float[Array, "number"]:
        # An odd stride visits all columns where there is a power of two of them.
        numbers = kernel.reshape(-1)[:: -(-kernel.size // NUMBERS) | 1]
        return jnp.pad(numbers, (0, NUMBERS - len(numbers)))

    return jnp.stack([some(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim > 1])


def ratios(params: optax.Params, before: Sample, moved: Sample) -> dict[str, Float[Array, ""]]:
    """Returns |update| / |weights| of every kernel, given samples of the weights and of what was added to them."""
    kernels = [path for path, leaf in named(params).items() if leaf.ndim > 1]
    return dict(zip(kernels, jnp.linalg.norm(moved, axis=1) / jnp.linalg.norm(before, axis=1), strict=True))


def make_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    config: Config,
    mesh: Mesh | None = None,
    watch: Watch | None = None,
) -> TrainStep:
    """Compiles the training step of a model.

    The step differentiates the objective, clips, and updates. If the loss or any gradient is not finite, parameters,
    moments and clip statistics stay as they were, bit for bit, and the step is counted as skipped. A step that takes
    the parameters beyond the range of numbers, as only an absurd learning rate can, is taken, and counted with those.
    The given state is donated: its buffers become those of the returned one.

    Args:
        model: an autoencoder of `hae_jax.models`.
        optimizer: what `hae_jax.training.optim.build` returns.
        config: the run; `config.model` weighs the auxiliary losses.
        mesh: devices over which the returned state is replicated; None for one device.
        watch: what else to look at, as part of the same program; its result is the info's `seen`.

    Returns:
        A function of state, batch and the run's key; the randomness of a step is the key folded with its number.
    """

    def step(state: TrainState, batch: AnyBatch, key: Key[Array, ""]) -> tuple[TrainState, StepInfo]:
        own = jax.random.fold_in(key, state.step)
        derivative = differentiate(model, config.model, state.params, batch, own, watch is not None)
        value, losses, gradient, _ = derivative
        # A norm that overflows counts as non-finite: no clip can scale such a gradient.
        norms = jnp.stack([optax.tree.norm(leaf) for leaf in jax.tree.leaves(gradient)])
        sound = jnp.isfinite(norms)

        # An operand of the update, which happens in place: whoever looked later would need a copy of everything.
        before = None if watch is None else sample(state.params)

        def take(params: optax.Params, opt_state: optax.OptState, before: Sample) -> Updated:
            updates, opt_state = optimizer.update(gradient, opt_state, params)
            params = optax.apply_updates(params, updates)
            return params, opt_state, None if before is None else sample(params) - before

        def keep(params: optax.Params, opt_state: optax.OptState, before: Sample) -> Updated:
            return params, opt_state, None if before is None else jnp.zeros_like(before)

        # Choosing between the old and the new leaf by leaf would cost as much again as the update.
        finite = jnp.isfinite(value) & jnp.all(sound)
        params, opt_state, moved = jax.lax.cond(finite, take, keep, state.params, state.opt_state, before)
        within = jnp.stack([jnp.isfinite(optax.tree.norm(leaf)) for leaf in jax.tree.leaves(params)])
        finite &= jnp.all(within)
        skip = jnp.where(finite, 0, 1)
        info = StepInfo(
            loss=losses.reconstruction.mean,
            sentence_loss=None if losses.sentence is None else losses.sentence.mean,
            vector_loss=None if losses.vector is None else losses.vector.mean,
            # While training every sentence is decoded once, through the code or from its own vector.
            tokens=losses.reconstruction.count + (0 if losses.sentence is None else losses.sentence.count),
            norm=optax.tree.norm(norms),
            binding=binding(opt_state) & finite,
            finite=finite,
            culprit=jnp.where(jnp.all(sound), -1, jnp.argmin(sound)).astype(jnp.int32),
            seen=None if watch is None else watch(derivative, ratios(params, before, moved)),
        )
        skipped = (state.skipped + skip) * skip
        return TrainState(state.step + 1, params, opt_state, skipped, state.skipped_total + skip), info

    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    return jax.jit(step, donate_argnums=0, out_shardings=everywhere)
