"""A model of Equinox with its loss, batches and optimizer as a training setup."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from hae_jax.doctor.frameworks.calls import call, check_loss
from hae_jax.doctor.inputs.setup import TrainingSetup
from hae_jax.doctor.tracing.rolling import rolled


def setup_of(
    model: Any, loss_fn: Any = None, batches: Any = None, optimizer: Any = None, *, state: Any = None, **parts: Any
) -> TrainingSetup:
    """Makes a training setup of an Equinox model: its arrays of real numbers are the parameters.

    Args:
        model: an `eqx.Module`.
        loss_fn: `loss_fn(model, batch)`, `loss_fn(model, batch, key)` or `loss_fn(model, x, y)`; with a state,
            `loss_fn(model, state, batch)`. It may return (loss, anything).
        batches: any iterable of batches.
        optimizer: an optax optimizer; Adam if None.
        state: an `eqx.nn.State`; each step starts from it.
        parts: further fields of `TrainingSetup`; functions take what `loss_fn` takes.

    Raises:
        SetupError: if there is no loss.

    Example:
        >>> model = eqx.nn.Linear(2, 1, key=jax.random.key(0))
        >>> setup = setup_of(model, lambda model, x: jax.vmap(model)(x).mean(), [jax.numpy.ones((3, 2))])
        >>> sorted(setup.params), setup.framework
        (['bias', 'weight'], 'equinox')
    """
    check_loss(loss_fn)
    trained, static = eqx.partition(model, eqx.is_inexact_array)
    paths, structure = jax.tree.flatten_with_path(trained)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]

    def of_model(function: Callable[..., Any]) -> Callable[..., Any]:
        def in_mode(train: bool) -> Callable[..., Any]:
            def evaluate(params: dict[str, Any], batch: Any, key: Any) -> Any:
                arrays = jax.tree.unflatten(structure, [params[name] for name in names])
                built = eqx.nn.inference_mode(eqx.combine(arrays, static), value=not train)
                before = (built,) if state is None else (built, state)
                return arrays_of(call(function, before, batch, key, train))

            return rolled(evaluate)

        modes = {train: in_mode(train) for train in (True, False)}
        return lambda params, batch, key, train=True: modes[train](params, batch, key)

    functions: dict[str, Any] = {name: of_model(value) if callable(value) else value for name, value in parts.items()}
    params = dict(zip(names, (leaf for _, leaf in paths), strict=True))
    return TrainingSetup(of_model(loss_fn), params, batches, optimizer, framework="equinox", **functions)


def arrays_of(result: Any) -> Any:
    """Returns the loss alone if a function returns a state or other objects beside it."""
    return result if eqx.is_array(result) or not isinstance(result, tuple) else result[0]
