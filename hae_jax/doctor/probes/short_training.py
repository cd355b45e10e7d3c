"""Short trainings with the user's optimizer, whose updates can be scaled."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hae_jax.doctor.inputs.arrays import Arrays, flatten, is_trainable
from hae_jax.doctor.inputs.normalize import NormalizedSetup
from hae_jax.doctor.inputs.setup import SetupError, format_error

OPTIMIZER_REPAIR = "Give one of optax, as optax.adam(1e-3), that needs no more than gradient, state and parameters"
GRADIENT_REPAIR = "Use jax.lax.scan where jax.grad cannot pass, as a while_loop"
"""Repairs of setups that cannot be trained."""


@dataclass
class TrainingCurve:
    """Measurements of a training.

    Attributes:
        loss: before each step, on the step's batch.
        norm: norm of the whole gradient at each step.
        update_ratio: norm of each update over the norm of the parameters.
        overshoot: slope of the loss along an update at its end over the slope at its start, on the next step's batch;
            positive where a step went beyond the minimum along its direction.
        gradients: the largest gradient norm of each parameter.
        updates: the largest update norm of each parameter.
        finite: whether loss and gradient stayed finite.
        params: the final parameters.
        state: the final optimizer state.
    """

    loss: list[float] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)
    update_ratio: list[float] = field(default_factory=list)
    overshoot: list[float] = field(default_factory=list)
    gradients: Any = None
    updates: Any = None
    finite: bool = True
    params: Arrays = field(default_factory=list)
    state: Any = None

    def final_loss(self, count: int = 10) -> float:
        """Returns the mean of the last losses; nan without any."""
        return float(np.mean(self.loss[-count:])) if self.loss else float("nan")


class ShortTraining:
    """Trains a setup.

    Attributes:
        setup: the normalized setup.
        deadline: when to stop, by `time.monotonic`; None if never.
        cut: whether something was stopped at the deadline.
        whole_tree: whether the optimizer gets the user's own tree, and not a list of its arrays.

    Raises:
        SetupError: if the optimizer cannot initialize or update, or the loss has no gradient.
    """

    def __init__(self, setup: NormalizedSetup, deadline: float | None = None):
        self.setup, self.deadline, self.cut = setup, deadline, False
        errors: list[Exception] = []
        # Some optimizers fail on trees with leaves that are no arrays, but accept a list of the arrays.
        for whole_tree in (True, False):
            self.whole_tree = whole_tree
            try:
                jax.eval_shape(self._first_update)
                break
            except Exception as error:
                errors.append(error)
        else:
            raise SetupError(
                "optimizer-fails",
                f"optimizer must initialize and update, got {format_error(errors[0])}. {OPTIMIZER_REPAIR}.",
            )
        try:
            self.value_and_grad.eval_shape(setup.params, setup.batches[0], setup.key)
        except Exception as error:
            message = f"loss must have a gradient, got {format_error(error)}. {GRADIENT_REPAIR}."
            raise SetupError("loss-fails", message) from error

    def _first_update(self) -> Any:
        params = self.setup.params
        updates, state = self.update(params, self.init_state(params), params)
        if [np.shape(update) for update in updates] != [np.shape(param) for param in params]:
            raise ValueError("its updates have other shapes than the parameters")
        return updates, state

    def is_late(self) -> bool:
        """Returns whether the deadline has passed; then something is cut."""
        late = self.deadline is not None and time.monotonic() > self.deadline
        self.cut = self.cut or late
        return late

    def init_state(self, params: Arrays) -> Any:
        """Returns the optimizer's initial state."""
        return self.setup.optimizer.init(self._tree(params))

    def _tree(self, arrays: Arrays) -> Any:
        return self.setup.structure.build(arrays) if self.whole_tree else list(arrays)

    def _leaves(self, tree: Any) -> Arrays:
        return flatten(tree, is_trainable)[0] if self.whole_tree else jax.tree.leaves(tree)

    def update(self, gradient: Arrays, state: Any, params: Arrays) -> tuple[Arrays, Any]:
        """Returns the optimizer's updates, which are added to the parameters, and its new state."""
        update = optax.with_extra_args_support(self.setup.optimizer).update
        updates, state = update(self._tree(gradient), state, self._tree(params))
        return self._leaves(updates), state

    @cached_property
    def value_and_grad(self) -> Any:
        """Loss and gradient as a compiled function of parameters, fields and key."""
        return jax.jit(jax.value_and_grad(self.setup.loss))

    @cached_property
    def step(self) -> Any:
        """The optimizer's step and its measurements as a compiled function.

        It is compiled apart from the gradient, which is the larger part of a training step and is shared by optimizers
        and scales.
        """

        def step(params: Arrays, state: Any, gradient: Arrays, scale: Any, previous: Arrays) -> Any:
            updates, state = self.update(gradient, state, params)
            updates = [jnp.asarray(update * scale, update.dtype) for update in updates]
            new = [param + update.astype(param.dtype) for param, update in zip(params, updates, strict=True)]
            norms, update_norms = leaf_norms(gradient), leaf_norms(updates)
            # The larger of both sizes, since parameters may all be 0 at first.
            size = jnp.maximum(*(jnp.linalg.norm(leaf_norms(each)) for each in (params, new)))
            size = jnp.where(size > 0, size, 1)
            measured = (
                jnp.linalg.norm(norms), jnp.linalg.norm(update_norms) / size, slope_along(gradient, previous),
                slope_along(gradient, updates), norms, update_norms,
            )  # fmt: skip
            return new, state, [update.astype(jnp.float32) for update in updates], measured

        return jax.jit(step)

    def run(
        self, batches: list[Arrays], steps: int, scale: float = 1.0, start: TrainingCurve | None = None
    ) -> TrainingCurve:
        """Trains for some steps, or until the deadline.

        Args:
            batches: used in turn.
            steps: number of steps.
            scale: factor of the updates.
            start: a curve to continue; from the setup's parameters if None.
        """
        params = self.setup.params
        curve = start or TrainingCurve(params=params, state=self.init_state(params))
        previous = [jnp.zeros(param.shape, jnp.float32) for param in curve.params]
        slope_before, first = None, len(curve.loss)
        for at in range(first, first + steps):
            if self.is_late():
                break
            key = jax.random.fold_in(self.setup.key, at)
            loss, gradient = self.value_and_grad(curve.params, batches[at % len(batches)], key)
            params, state, previous, measured = self.step(
                curve.params, curve.state, gradient, np.float32(scale), previous
            )
            loss, (norm, ratio, slope_after, slope, norms, update_norms) = jax.device_get((loss, measured))
            curve.loss.append(float(loss))
            curve.norm.append(float(norm))
            curve.update_ratio.append(float(ratio))
            if slope_before:
                curve.overshoot.append(float(slope_after) / abs(slope_before))
            slope_before = float(slope)
            norms, update_norms = np.asarray(norms), np.asarray(update_norms)
            curve.gradients = norms if curve.gradients is None else np.fmax(curve.gradients, norms)
            curve.updates = update_norms if curve.updates is None else np.fmax(curve.updates, update_norms)
            if not (np.isfinite(loss) and np.isfinite(norm) and np.isfinite(ratio)):
                curve.finite = False
                break
            curve.params, curve.state = params, state
        return curve


def leaf_norms(arrays: Arrays) -> Any:
    """Returns the norm of each array."""
    return jnp.stack([jnp.linalg.norm(array.astype(jnp.float32)) for array in arrays])


def slope_along(gradient: Arrays, updates: Arrays) -> Any:
    """Returns the product of gradient and update, the slope of the loss along the update."""
    return sum((g.astype(jnp.float32) * update).sum() for g, update in zip(gradient, updates, strict=True))
