"""A model of Flax NNX with its loss, batches and optimizer as a training setup."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hae_jax.doctor.frameworks.calls import call, check_loss
from hae_jax.doctor.inputs.setup import TrainingSetup
from hae_jax.doctor.tracing.rolling import rolled


def setup_of(
    model: Any, loss_fn: Any = None, batches: Any = None, optimizer: Any = None, **parts: Any
) -> TrainingSetup:
    """Makes a training setup of an NNX model, which stays as it is.

    Random streams of the model start from the key of each step. Statistics of batches are not kept from step to step,
    so an evaluation normalizes by those of its own batch.

    Args:
        model: an `nnx.Module`.
        loss_fn: `loss_fn(model, batch)`, `loss_fn(model, batch, key)` or `loss_fn(model, x, y)`.
        batches: any iterable of batches.
        optimizer: an `nnx.Optimizer` or an optax optimizer; Adam if None.
        parts: further fields of `TrainingSetup`; functions take (model, batch, key).

    Raises:
        SetupError: if there is no loss.

    Example:
        >>> model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
        >>> setup = setup_of(model, lambda model, x: model(x).mean(), [jnp.ones((3, 2))])
        >>> sorted(setup.params), setup.framework
        (['bias', 'kernel'], 'nnx')
    """
    check_loss(loss_fn)
    split: Any = nnx.split
    graph, trained, others = split(model, getattr(optimizer, "wrt", nnx.Param), ...)
    leaves = {"/".join(map(str, path)): (path, leaf) for path, leaf in nnx.to_flat_state(trained)}

    def model_of(params: dict[str, Any], key: Any, train: bool) -> Any:
        state = nnx.from_flat_state([(path, leaf.replace(params[name])) for name, (path, leaf) in leaves.items()])
        merged = nnx.merge(graph, state, fresh(others, key))
        if train:
            merged.train()
        else:
            merged.eval()
            merged.set_attributes(nnx.BatchNorm, use_running_average=False, raise_if_not_found=False)
        return merged

    def of_model(function: Callable[..., Any]) -> Callable[..., Any]:
        def in_mode(train: bool) -> Callable[..., Any]:
            return rolled(lambda params, batch, key: call(function, (model_of(params, key, train),), batch, key, train))

        modes = {train: in_mode(train) for train in (True, False)}
        return lambda params, batch, key, train=True: modes[train](params, batch, key)

    functions: dict[str, Any] = {name: of_model(value) if callable(value) else value for name, value in parts.items()}
    params = {name: leaf.get_value() for name, (_, leaf) in leaves.items()}
    return TrainingSetup(
        of_model(loss_fn), params, batches, getattr(optimizer, "tx", optimizer), framework="nnx", **functions
    )


def fresh(state: Any, key: Any) -> Any:
    """Returns copies of variables, which a trace may change; random streams start from a key."""
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)

    def copied(at: int, leaf: Any) -> Any:
        is_stream = isinstance(leaf, nnx.RngKey) and not leaf.shape
        return leaf.replace(jax.random.fold_in(key, at) if is_stream else leaf.get_value())

    return nnx.from_flat_state([(path, copied(at, leaf)) for at, (path, leaf) in enumerate(nnx.to_flat_state(state))])
