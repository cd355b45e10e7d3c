"""Short trainings with the patient's own optimizer, whose steps may be shortened or lengthened."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hae_jax.doctor.inputs.arrays import Arrays, flatten, trainable
from hae_jax.doctor.inputs.normalize import NormalizedSetup, format_error
from hae_jax.doctor.inputs.setup import SetupError

MIN_STEPS = 60
"""Steps that are taken though patience is over, unless it is over four times."""
GIVE = "Give one of optax, as optax.adam(1e-3), that needs no more than gradient, state and parameters"
SCAN = "Use jax.lax.scan where jax.grad cannot pass, as a while_loop"
"""What to do where there is nothing to train with."""


@dataclass
class TrainingCurve:
    """What was seen while training.

    Attributes:
        loss: before each step, on the step's batch.
        norm: of the whole gradient, at each step.
        moves: norm of each step's update over that of the parameters.
        turned: gradient along the last update, over that of the last gradient: positive once a step went too far; of
            training on one batch it is the slope at a step's end over the slope at its beginning.
        gradients: the largest norm of each parameter's gradient.
        updates: the largest norm of each parameter's update.
        finite: whether loss and gradient stayed finite.
        params: the parameters at the end.
        state: the optimizer's.
    """

    loss: list[float] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)
    turned: list[float] = field(default_factory=list)
    gradients: Any = None
    updates: Any = None
    finite: bool = True
    params: Arrays = field(default_factory=list)
    state: Any = None

    def end(self, count: int = 10) -> float:
        """Returns the mean of the last losses."""
        return float(np.mean(self.loss[-count:])) if self.loss else float("nan")


class ShortTraining:
    """Trains a case.

    Attributes:
        case: the patient, undressed.
        whole: whether the optimizer sees the user's own tree, and not a list of its arrays.

    Raises:
        Trouble: if the optimizer cannot begin or update, or the loss has no gradient.
    """

    def __init__(self, case: NormalizedSetup):
        self.case = case
        errors: list[Exception] = []
        # Trees with leaves that are no arrays: some optimizers cannot begin with them, but with a list they can.
        for whole in (True, False):
            self.whole = whole
            try:
                jax.eval_shape(self._once)
                break
            except Exception as error:
                errors.append(error)
        else:
            raise SetupError(
                "optimizer-fails", f"optimizer must begin and update, got {format_error(errors[0])}. {GIVE}."
            )
        try:
            self.differentiate.eval_shape(case.params, case.batches[0], case.key)
        except Exception as error:
            raise SetupError("loss-fails", f"loss must have a gradient, got {format_error(error)}. {SCAN}.") from error

    def _once(self) -> Any:
        moved, state = self.update(self.case.params, self.fresh(), self.case.params)
        if [np.shape(m) for m in moved] != [np.shape(p) for p in self.case.params]:
            raise ValueError("its updates have other shapes than the parameters")
        return moved, state

    def fresh(self, params: Arrays | None = None) -> Any:
        """Returns the optimizer's first state."""
        return self.case.optimizer.init(self._tree(self.case.params if params is None else params))

    def _tree(self, arrays: Arrays) -> Any:
        return self.case.form.build(arrays) if self.whole else list(arrays)

    def _leaves(self, tree: Any) -> Arrays:
        if not self.whole:
            return jax.tree.leaves(tree)
        return flatten(tree, trainable)[0]

    def update(self, gradient: Arrays, state: Any, params: Arrays) -> tuple[Arrays, Any]:
        """Returns what the optimizer adds to the parameters."""
        update = optax.with_extra_args_support(self.case.optimizer).update
        moved, state = update(self._tree(gradient), state, self._tree(params))
        return self._leaves(moved), state

    @cached_property
    def differentiate(self) -> Any:
        """Returns loss and gradient, of parameters, fields and key; compiled."""
        return jax.jit(jax.value_and_grad(self.case.loss))

    @cached_property
    def move(self) -> Any:
        """Returns what the optimizer makes of a gradient, and what is known of it; compiled by itself.

        The gradient is the larger part of a step, and need not be compiled again for it.
        """

        def move(params: Arrays, state: Any, gradient: Arrays, scale: Any, last: Arrays) -> Any:
            moved, state = self.update(gradient, state, params)
            moved = [jnp.asarray(m * scale, m.dtype) for m in moved]
            new = [(p + m.astype(p.dtype)) for p, m in zip(params, moved, strict=True)]
            norms = jnp.stack([jnp.linalg.norm(g.astype(jnp.float32)) for g in gradient])
            moves = jnp.stack([jnp.linalg.norm(m.astype(jnp.float32)) for m in moved])
            size = jnp.sqrt(sum(jnp.square(p.astype(jnp.float32)).sum() for p in params))
            ahead = sum((g.astype(jnp.float32) * m).sum() for g, m in zip(gradient, last, strict=True))
            down = sum((g.astype(jnp.float32) * m).sum() for g, m in zip(gradient, moved, strict=True))
            seen = (jnp.linalg.norm(norms), jnp.linalg.norm(moves) / size, ahead, down, norms, moves)
            return new, state, [m.astype(jnp.float32) for m in moved], seen

        return jax.jit(move)

    def run(
        self,
        batches: list[Arrays],
        steps: int,
        scale: float = 1.0,
        patience: float = 10.0,
        start: TrainingCurve | None = None,
    ) -> TrainingCurve:
        """Trains for some steps, or for so long as there is patience.

        Args:
            batches: taken in turn.
            steps: how many steps.
            scale: what updates are multiplied by.
            patience: seconds.
            start: a course to go on with; from the patient's parameters if None.
        """
        course = start or TrainingCurve(params=self.case.params, state=self.fresh())
        last = [jnp.zeros(p.shape, jnp.float32) for p in course.params]
        started, down = time.monotonic(), None
        begun = len(course.loss)
        for at in range(begun, begun + steps):
            key = jax.random.fold_in(self.case.key, at)
            loss, gradient = self.differentiate(course.params, batches[at % len(batches)], key)
            params, state, last, seen = self.move(course.params, course.state, gradient, np.float32(scale), last)
            loss, (norm, move, ahead, slope, norms, moves) = jax.device_get((loss, seen))
            course.loss.append(float(loss))
            course.norm.append(float(norm))
            course.moves.append(float(move))
            if down:
                course.turned.append(float(ahead) / abs(down))
            down = float(slope)
            norms, moves = np.asarray(norms), np.asarray(moves)
            course.gradients = norms if course.gradients is None else np.fmax(course.gradients, norms)
            course.updates = moves if course.updates is None else np.fmax(course.updates, moves)
            if not (np.isfinite(loss) and np.isfinite(norm) and np.isfinite(move)):
                course.finite = False
                break
            course.params, course.state = params, state
            if at == begun:
                # Compiling is not training.
                started = time.monotonic()
            spent = time.monotonic() - started
            if spent > patience and (at - begun >= MIN_STEPS or spent > 4 * patience):
                break
        return course
